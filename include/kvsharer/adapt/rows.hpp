// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/adapt/planes.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/strided_index.hpp"

/// Adapters for memory in one piece with contiguous rows.
namespace kvsharer::inline v0::adapt {

/// [token][kv_head][channel] of each layer; `capacity` tokens.
template <class Layers>
constexpr auto token_rows(Layers layers, cache_shape s) {
  return planes{layers, layout::strided_index{.head = s.head_dim, .token = s.kv_heads * s.head_dim}};
}

/// [layer][token][kv_head * head_dim] in one allocation.
template <class E>
constexpr auto flat(const E* data, cache_shape s) {
  return token_rows(stacked{data, s.capacity * s.kv_heads * s.head_dim}, s);
}

/// [batch][kv_head][token][channel] of each layer, as in HuggingFace's caches: one sequence of the batch. `capacity` is
/// the third extent; in a cache that grows by concatenation it is the length.
template <class Layers>
constexpr auto batched(Layers layers, cache_shape s, index_t sequence) {
  const index_t head = s.capacity * s.head_dim;
  return planes{layers, layout::strided_index{.head = head, .token = s.head_dim, .base = sequence * s.kv_heads * head}};
}

/// [token][layer][keys, values][kv_head][channel]: a token's row of all layers in one piece.
template <class E>
constexpr auto interleaved(const E* data, cache_shape s, part which) {
  const index_t plane = s.kv_heads * s.head_dim;
  return planes{stacked{data, 2 * plane},
                layout::strided_index{
                    .head = s.head_dim, .token = s.layers * 2 * plane, .base = static_cast<index_t>(which) * plane}};
}

}  // namespace kvsharer::inline v0::adapt
