// SPDX-License-Identifier: Apache-2.0
#include "run/throughput.hpp"

#include <cmath>

#include "support/usage_error.hpp"

namespace mini_llama {

using kvsharer::index_t;
using kvsharer::layer_id;
using kvsharer::share_map;

namespace {

/// Sizes of a layer as floating numbers, since their products pass 2^31.
struct widths {
  explicit widths(const model_config& c)
      : hidden(c.hidden),
        queries(static_cast<double>(c.heads) * c.head_dim),
        keys(static_cast<double>(c.kv_heads) * c.head_dim),
        intermediate(c.intermediate) {}

  double key_value_weights() const { return hidden * 2 * keys; }
  /// All of a layer's but those of keys and values.
  double other_weights() const { return hidden * 2 * queries + 3 * hidden * intermediate; }

  double hidden, queries, keys, intermediate;
};

}  // namespace

double decode_weight_bytes(const model_config& c, const share_map& map, std::size_t element_bytes) {
  const widths w(c);
  return (c.layers * w.other_weights() + map.owner_count() * w.key_value_weights() +
          w.hidden * static_cast<double>(c.vocab)) *
         static_cast<double>(element_bytes);
}

double prefill_operations(const model_config& c, const share_map& map, index_t batch, index_t tokens) {
  const widths w(c);
  const auto rows = static_cast<double>(tokens);
  double of_sequence = 2 * w.hidden * static_cast<double>(c.vocab);  // the last row's logits
  for (layer_id l{0}; l.value < c.layers; ++l.value) {
    const bool whole = l < map.last_owner();
    const double asking = whole ? rows : 1;
    const double seen = whole ? rows * (rows + 1) / 2 : rows;  // tokens, by all that ask
    if (map.owns(l)) of_sequence += 2 * rows * w.key_value_weights();
    of_sequence += 2 * asking * w.other_weights() + 4 * w.queries * seen;
  }
  return of_sequence * static_cast<double>(batch);
}

void add_floors(throughput& t, const throughput_request& request, std::size_t element_bytes) {
  const model_config& c = request.config;
  const double context = static_cast<double>(request.context) + static_cast<double>(request.new_tokens) / 2;
  t.weight_bytes = decode_weight_bytes(c, t.map, element_bytes);
  t.step_bytes = t.weight_bytes + 2 * widths(c).keys * c.layers * context * static_cast<double>(t.batch) *
                                      static_cast<double>(element_bytes);
  t.prefill_operations = prefill_operations(c, t.map, t.batch, request.context);
}

double sequence_kv_bytes(const model_config& c, const share_map& map, std::size_t element_bytes, index_t tokens,
                         index_t page_tokens) {
  const index_t pages = (tokens + page_tokens - 1) / page_tokens;
  return 2 * widths(c).keys * static_cast<double>(pages * page_tokens * map.owner_count()) *
         static_cast<double>(element_bytes);
}

index_t batch_of(const throughput_request& request, const share_map& map, std::size_t element_bytes,
                 index_t page_tokens) {
  if (!request.kv_budget) return request.batch;
  const double each =
      sequence_kv_bytes(request.config, map, element_bytes, request.context + request.new_tokens, page_tokens);
  const double fits = std::floor(*request.kv_budget / each);
  if (fits > most_sequences)
    throw usage_error("a budget of " + std::to_string(*request.kv_budget * 1e-9) + " GB holds more than " +
                      std::to_string(most_sequences) +
                      " sequences, which do not run as one batch; lower --kv-budget, or raise --context");
  if (fits < 1)
    throw usage_error("a sequence of " + std::to_string(request.context + request.new_tokens) + " tokens takes " +
                      std::to_string(each * 1e-9) + " GB of keys and values, more than the budget of " +
                      std::to_string(*request.kv_budget * 1e-9) + " GB");
  return static_cast<index_t>(fits);
}

}  // namespace mini_llama
