// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "kvsharer/backend/cpu/attention_scratch.hpp"
#include "kvsharer/backend/cpu/cache_rows.hpp"
#include "kvsharer/backend/cpu/decode_tiles.hpp"
#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/backend/cpu/softmax.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/attention_shape.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES {

/// One query row of one KV head's group over tokens [first, last): queries [group][head_dim], out [group][value width].
/// Reads each key and value from memory once for the whole group. A result does not depend on the tokens before
/// `first`.
template <LayerView K, LayerView V>
void decode_head(const attention_shape& s, const K& keys, const V& values, index_t head, index_t first, index_t last,
                 const float* queries, float* out, attention_scratch& scratch) {
  const index_t tokens = last - first, group = s.group(), n = s.head_dim, width = whole_lines(tokens);
  const index_t of_values = s.value_width();
  float* scores = scratch.at_least(group * (width + n) + block_rows * std::max(n, of_values));
  float* scaled = scores + group * width;
  float* buffer = scaled + group * n;
  const float scale = s.score_scale();
  std::transform(queries, queries + group * n, scaled, [=](float q) { return q * scale; });

  for_each_block(keys, head, first, last, n, buffer, [&](index_t token, const auto& block) {
    for_each_subgroup(group, [&](index_t g, auto size) {
      score_block<size>(scaled + g * n, block, n, scores + g * width + (token - first), width);
    });
  });
  for (index_t g = 0; g < group; ++g) {
    float* of_query = scores + g * width;
    const float sum = exponentials(of_query, tokens, largest(of_query, tokens));
    for (index_t t = 0; t < tokens; ++t) of_query[t] /= sum;
  }
  std::fill(out, out + group * of_values, 0.0f);
  for_each_block(values, head, first, last, of_values, buffer, [&](index_t token, const auto& block) {
    for_each_subgroup(group, [&](index_t g, auto size) {
      add_block<size>(scores + g * width + (token - first), width, block, std::min(block_rows, last - token), of_values,
                      out + g * of_values);
    });
  });
}

}  // namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES
