// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <span>
#include <string>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/runtime/shared_cache.hpp"
#include "network/layer.hpp"
#include "network/model.hpp"
#include "network/sequence_slice.hpp"
#include "network/workspace.hpp"

namespace mini_llama {
namespace detail {

/// Makes the angles of all positions in the batch available, in powers of two so that decoding rarely computes any.
inline void reserve_positions(const model& m, std::span<const sequence_slice> slices, workspace& w) {
  kvsharer::index_t end = 0;
  for (const sequence_slice& s : slices) end = std::max(end, s.position() + s.tokens);
  if (end > w.rope.positions())
    w.rope.reserve(
        m.config().rope, m.config().head_dim,
        static_cast<kvsharer::index_t>(std::bit_ceil(std::max<std::size_t>(static_cast<std::size_t>(end), 256))));
}

/// Moves each slice's last row of x to the front of x, and makes `last` the slices of just those.
inline void keep_last_rows(std::span<const sequence_slice> slices, kvsharer::index_t hidden, float* x,
                           std::vector<sequence_slice>& last) {
  last.clear();
  const float* end = x;
  for (const sequence_slice& s : slices) {
    end += s.tokens * hidden;
    std::copy(end - hidden, end, x + static_cast<kvsharer::index_t>(last.size()) * hidden);
    last.push_back({s.id, s.first + s.tokens - 1, 1, s.removed});
  }
}

// What nearly everything runs on is compiled once, in forward.cpp.
extern template void run_layer(const model&, kvsharer::shared_cache<>&, const kvsharer::share_plan&,
                               std::span<const sequence_slice>, kvsharer::layer_id, layer_part, layer_options, float*,
                               workspace&);

}  // namespace detail

/// Runs layers [from, to) over x [rows][hidden] in place, the rows of all slices in order. The store must have room for
/// the slices, and hold everything before them. Precondition: plan.layers() == m.config().layers.
template <KVStore Store>
void run_layers(const model& m, Store& store, const kvsharer::share_plan& plan, std::span<const sequence_slice> slices,
                int from, int to, float* x, workspace& w, layer_options options = {}) {
  detail::reserve_positions(m, slices, w);
  for (int l = from; l < to; ++l)
    detail::run_layer(m, store, plan, slices, {l}, detail::layer_part::whole, options, x, w);
}

/// What `forward` is to return.
enum class outputs {
  last_logits,  ///< [slices][vocab], of each slice's last row
  all_logits,   ///< [rows][vocab]
  hidden        ///< [rows][hidden], after the last norm
};

struct forward_options {
  outputs want = outputs::last_logits;
  /// Where only last positions' logits are asked for: runs the others no further than the last owner's keys and values,
  /// since nothing reads them above. Changes nothing but the time.
  bool short_prefill = true;
  bool project_readers = false;  ///< see layer_options
};

/// Runs a ragged batch of token ids, slice after slice, under the store's plan, and returns what is asked for: numbers
/// in the workspace that stay valid until it is next used. The slices must have been appended to the store. Throws
/// kvsharer::error (bad_argument) when ids, slices, plan and model do not fit each other, before anything is stored.
template <KVStore Store>
std::span<const float> forward(const model& m, Store& store, std::span<const sequence_slice> slices,
                               std::span<const int> ids, const forward_options& options, workspace& w) {
  using kvsharer::index_t;
  const model_config& c = m.config();
  const kvsharer::share_plan& plan = store.plan();
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
    detail::run_layer(m, store, plan, slices, p, detail::layer_part::keys_and_values, layers, x, w);
    detail::keep_last_rows(slices, hidden, x, w.last);
    detail::run_layer(m, store, plan, w.last, p, detail::layer_part::all_but_those, layers, x, w);
    run_layers(m, store, plan, w.last, p.value + 1, c.layers, x, w, layers);
  } else {
    run_layers(m, store, plan, slices, 0, c.layers, x, w, layers);
    if (only_last) detail::keep_last_rows(slices, hidden, x, w.last);
  }

  const index_t wanted = only_last ? count : rows;
  final_norm(m, x, wanted, x);
  if (options.want == outputs::hidden) return {x, static_cast<std::size_t>(rows * hidden)};
  float* logits = workspace::at_least(w.logits, wanted * vocab);
  project_logits(m, x, wanted, logits, w);
  return {logits, static_cast<std::size_t>(wanted * vocab)};
}

}  // namespace mini_llama
