// SPDX-License-Identifier: Apache-2.0
#include "network/forward.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"

namespace mini_llama {

template class stored_in<kvsharer::shared_cache<>>;

namespace {

/// Makes the angles of all positions in the batch available, in powers of two so that decoding rarely computes any.
void reserve_positions(const model& m, std::span<const sequence_slice> slices, workspace& w) {
  kvsharer::index_t end = 0;
  for (const sequence_slice& s : slices) end = std::max(end, s.position() + s.tokens);
  if (end > w.rope.positions())
    w.rope.reserve(
        m.config().rope, m.config().head_dim,
        static_cast<kvsharer::index_t>(std::bit_ceil(std::max<std::size_t>(static_cast<std::size_t>(end), 256))));
}

/// Moves each slice's last row of x to the front of x, and makes `last` the slices of just those.
void keep_last_rows(std::span<const sequence_slice> slices, kvsharer::index_t hidden, float* x,
                    std::vector<sequence_slice>& last) {
  last.clear();
  const float* end = x;
  for (const sequence_slice& s : slices) {
    end += s.tokens * hidden;
    std::copy(end - hidden, end, x + static_cast<kvsharer::index_t>(last.size()) * hidden);
    last.push_back({s.id, s.first + s.tokens - 1, 1, s.removed});
  }
}

}  // namespace

void run_layers(const model& m, layer_store& store, const kvsharer::share_plan& plan,
                std::span<const sequence_slice> slices, int from, int to, float* x, workspace& w,
                layer_options options) {
  reserve_positions(m, slices, w);
  for (int l = from; l < to; ++l) run_layer(m, store, plan, slices, {l}, layer_part::whole, options, x, w);
}

void store_layer(const model& m, layer_store& store, const kvsharer::share_plan& plan,
                 std::span<const sequence_slice> slices, kvsharer::layer_id l, float* x, workspace& w) {
  reserve_positions(m, slices, w);
  run_layer(m, store, plan, slices, l, layer_part::keys_and_values, {}, x, w);
}

std::span<const float> forward(const model& m, layer_store& store, const kvsharer::share_plan& plan,
                               std::span<const sequence_slice> slices, std::span<const int> ids,
                               const forward_options& options, workspace& w) {
  using kvsharer::index_t;
  const model_config& c = m.config();
  const index_t hidden = c.hidden, vocab = c.vocab, rows = count_rows(slices);
  const auto refuse = [](const std::string& text) { throw kvsharer::error(kvsharer::errc::bad_argument, text); };
  if (plan.layers() != c.layers)
    refuse("a map of " + std::to_string(plan.layers()) + " layers does not fit a model of " + std::to_string(c.layers));
  if (rows != static_cast<index_t>(ids.size()) || slices.empty())
    refuse(std::to_string(ids.size()) + " token ids were given for " + std::to_string(rows) + " rows");
  for (const sequence_slice& s : slices)
    if (s.tokens < 1 || s.first < 0 || s.removed < 0 || s.position() + s.tokens > c.max_position)
      refuse("tokens [" + std::to_string(s.position()) + ", " + std::to_string(s.position() + s.tokens) +
             ") of a sequence are empty or outside the model's context of " + std::to_string(c.max_position));

  float* x = workspace::at_least(w.residual, rows * hidden);
  embed(m, ids, x);
  const auto count = static_cast<index_t>(slices.size());
  const bool only_last = options.want == outputs::last_logits;
  const layer_options layers{options.project_readers};
  if (only_last && options.short_prefill && rows > count) {
    const kvsharer::layer_id p = plan.last_owner();
    run_layers(m, store, plan, slices, 0, p.value, x, w, layers);
    run_layer(m, store, plan, slices, p, layer_part::keys_and_values, layers, x, w);
    keep_last_rows(slices, hidden, x, w.last);
    run_layer(m, store, plan, w.last, p, layer_part::all_but_those, layers, x, w);
    run_layers(m, store, plan, w.last, p.value + 1, c.layers, x, w, layers);
  } else {
    run_layers(m, store, plan, slices, 0, c.layers, x, w, layers);
    if (only_last) keep_last_rows(slices, hidden, x, w.last);
  }

  const index_t wanted = only_last ? count : rows;
  final_norm(m, x, wanted, x);
  if (options.want == outputs::hidden) return {x, static_cast<std::size_t>(rows * hidden)};
  float* logits = workspace::at_least(w.logits, wanted * vocab);
  project_logits(m, x, wanted, logits, w);
  return {logits, static_cast<std::size_t>(wanted * vocab)};
}

}  // namespace mini_llama
