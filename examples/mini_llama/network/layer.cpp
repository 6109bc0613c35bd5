// SPDX-License-Identifier: Apache-2.0
#include "network/layer.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "kvsharer/backend/cpu/parallel.hpp"
#include "network/activations.hpp"

namespace mini_llama {
namespace {

/// f(begin, end) over pieces of [0, rows), on all threads when there is enough to do.
template <class F>
void for_rows(kvsharer::index_t rows, F&& f) {
  constexpr kvsharer::index_t piece = 32;
  kvsharer::cpu::parallel_for((rows + piece - 1) / piece,
                              [&](kvsharer::index_t i) { f(i * piece, std::min(rows, (i + 1) * piece)); });
}

/// What some families do to rows [begin, end) of [rows][heads * head_dim] before they are rotated: a bias is added,
/// each head is normed. Either may be empty.
void finish_heads(const std::vector<float>& bias, const std::vector<float>& gain, float eps, kvsharer::index_t heads,
                  kvsharer::index_t head_dim, kvsharer::index_t begin, kvsharer::index_t end, float* rows) {
  const kvsharer::index_t width = heads * head_dim;
  for (kvsharer::index_t r = begin; r < end; ++r) {
    float* row = rows + r * width;
    if (!bias.empty()) add_to(bias.data(), width, row);
    if (!gain.empty())
      for (kvsharer::index_t h = 0; h < heads; ++h)
        rms_norm(row + h * head_dim, gain.data(), head_dim, eps, row + h * head_dim);
  }
}

/// Turns rows [rows][heads * head_dim] by the positions at which they stand.
void rotate(const kvsharer::rope_table& rope, std::span<const sequence_slice> slices, kvsharer::index_t heads,
            kvsharer::index_t width, kvsharer::index_t begin, kvsharer::index_t end, float* rows) {
  kvsharer::index_t row = 0;
  for (const sequence_slice& s : slices) {
    for (kvsharer::index_t r = std::max(row, begin); r < std::min(row + s.tokens, end); ++r)
      rope.rotate(rows + r * width, heads, s.position() + r - row);
    row += s.tokens;
  }
}

}  // namespace

void run_layer(const model& m, layer_store& store, const kvsharer::share_plan& plan,
               std::span<const sequence_slice> slices, kvsharer::layer_id l, layer_part part, layer_options options,
               float* x, workspace& w) {
  using kvsharer::index_t;
  const model_config& c = m.config();
  const layer_weights& layer = m.layer(l.value);
  w.place(slices);
  const index_t rows = count_rows(slices), hidden = c.hidden;
  const index_t query_width = index_t{c.heads} * c.head_dim, key_width = index_t{c.kv_heads} * c.head_dim;
  const bool stores = part != layer_part::all_but_those;
  const bool all = options.project_readers && part == layer_part::whole && layer.key.data != nullptr;
  const bool stores_keys = stores && plan.owns_keys(l), stores_values = stores && plan.owns_values(l);

  float* normed = workspace::at_least(w.normed, rows * std::max(hidden, query_width));
  for_rows(rows, [&](index_t begin, index_t end) {
    for (index_t r = begin; r < end; ++r)
      rms_norm(x + r * hidden, layer.attention_norm.data(), hidden, c.norm_eps, normed + r * hidden);
  });

  projection group[3];
  std::size_t products = 0;
  float *queries = nullptr, *keys = nullptr, *values = nullptr;
  if (part != layer_part::keys_and_values) {
    queries = workspace::at_least(w.queries, rows * query_width);
    group[products++] = {layer.query, queries};
  }
  if (stores_keys || all) {
    keys = workspace::at_least(w.keys, rows * key_width);
    group[products++] = {layer.key, keys};
    w.counters.kv_rows += rows;
  }
  if (stores_values || all) {
    values = workspace::at_least(w.values, rows * key_width);
    group[products++] = {layer.value, values};
    w.counters.kv_rows += rows;
  }
  linear({group, products}, normed, rows, w.products);
  for_rows(rows, [&](index_t begin, index_t end) {
    if (queries) finish_heads(layer.query_bias, layer.query_norm, c.norm_eps, c.heads, c.head_dim, begin, end, queries);
    if (keys) finish_heads(layer.key_bias, layer.key_norm, c.norm_eps, c.kv_heads, c.head_dim, begin, end, keys);
    if (values) finish_heads(layer.value_bias, {}, c.norm_eps, c.kv_heads, c.head_dim, begin, end, values);
    if (queries) rotate(w.rope, slices, c.heads, query_width, begin, end, queries);
    if (keys) rotate(w.rope, slices, c.kv_heads, key_width, begin, end, keys);
  });
  if (stores_keys || stores_values)
    store.store(l, slices, key_width, stores_keys ? keys : nullptr, stores_values ? values : nullptr, w);
  if (part == layer_part::keys_and_values) return;

  float* attended = workspace::at_least(w.attended, rows * query_width);
  store.attend(plan, l, slices, c.attention(l), queries, attended, w);
  const projection output{layer.output, x, true};
  linear({&output, 1}, attended, rows, w.products);

  for_rows(rows, [&](index_t begin, index_t end) {
    if (!layer.output_bias.empty())
      for (index_t r = begin; r < end; ++r) add_to(layer.output_bias.data(), hidden, x + r * hidden);
    for (index_t r = begin; r < end; ++r)
      rms_norm(x + r * hidden, layer.mlp_norm.data(), hidden, c.norm_eps, normed + r * hidden);
  });
  const index_t inner = c.intermediate;
  float* gate = workspace::at_least(w.gate, rows * inner);
  float* up = workspace::at_least(w.up, rows * inner);
  const projection gate_up[] = {{layer.gate, gate}, {layer.up, up}};
  linear(gate_up, normed, rows, w.products);
  for_rows(rows, [&](index_t begin, index_t end) {
    swiglu(gate + begin * inner, up + begin * inner, (end - begin) * inner);
  });
  const projection down{layer.down, x, true};
  linear({&down, 1}, gate, rows, w.products);
  w.counters.layer_rows += rows;
}

}  // namespace mini_llama
