// SPDX-License-Identifier: Apache-2.0
#include "network/fingerprint.hpp"

#include <cstddef>
#include <vector>

#include "kvsharer/search/model_fingerprint.hpp"

namespace mini_llama {
namespace {

float number(const weight& w, kvsharer::index_t row, kvsharer::index_t column) {
  if (row >= w.out) return 0;  // a token that a small vocabulary lacks
  std::vector<float> numbers(static_cast<std::size_t>(w.in));
  decode_row(w, row, numbers.data());
  return numbers[static_cast<std::size_t>(column)];
}

}  // namespace

std::string fingerprint_of(const model& m) {
  const model_config& c = m.config();
  const kvsharer::model_extents extents{c.layers, c.hidden, c.intermediate, c.heads, c.kv_heads, c.head_dim};
  return kvsharer::model_fingerprint(extents, [&](const kvsharer::weight_place& at) {
    using enum kvsharer::weight_kind;
    const layer_weights& layer = m.layer(at.layer);
    // A layer that was trained to read another has that one's keys and values.
    const layer_weights& stored = c.stores(at.layer) ? layer : m.layer(c.kv_owners[static_cast<std::size_t>(at.layer)]);
    const auto matrix = [&](const weight& w) { return number(w, at.row, at.column); };
    const auto gain = [&](const std::vector<float>& g) { return g[static_cast<std::size_t>(at.column)]; };
    switch (at.kind) {
      case embedding:
        return matrix(m.embedding());
      case attention_norm:
        return gain(layer.attention_norm);
      case query:
        return matrix(layer.query);
      case key:
        return matrix(stored.key);
      case value:
        return matrix(stored.value);
      case output:
        return matrix(layer.output);
      case mlp_norm:
        return gain(layer.mlp_norm);
      case gate:
        return matrix(layer.gate);
      case up:
        return matrix(layer.up);
      case down:
        return matrix(layer.down);
      case final_norm:
        return gain(m.final_norm());
    }
    return 0.0f;
  });
}

}  // namespace mini_llama
