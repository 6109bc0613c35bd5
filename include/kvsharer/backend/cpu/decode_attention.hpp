// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "kvsharer/backend/cpu/attention_shape.hpp"
#include "kvsharer/backend/cpu/cache_rows.hpp"
#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/backend/cpu/softmax.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu::detail {

/// Sum of a[d] * b[d]. Always in the same order, whatever the addresses.
inline float dot(const float* a, const float* b, index_t n) noexcept {
  pack sum[2] = {};
  index_t d = 0;
  for (; d + 2 * lanes <= n; d += 2 * lanes) {
    sum[0] += unaligned(a + d).value * unaligned(b + d).value;
    sum[1] += unaligned(a + d + lanes).value * unaligned(b + d + lanes).value;
  }
  for (; d + lanes <= n; d += lanes) sum[0] += unaligned(a + d).value * unaligned(b + d).value;
  sum[0] += sum[1];
  float total = 0;
  for (index_t i = 0; i < lanes; ++i) total += sum[0][i];
  for (; d < n; ++d) total += a[d] * b[d];
  return total;
}

/// y[d] += a * x[d].
inline void add_scaled(float a, const float* x, float* y, index_t n) noexcept {
  index_t d = 0;
  for (; d + lanes <= n; d += lanes) unaligned(y + d).value += a * unaligned(x + d).value;
  for (; d < n; ++d) y[d] += a * x[d];
}

/// One query row of one KV head's group over tokens [0, tokens): queries and out [group][head_dim]. Reads each key and
/// value once for the whole group.
template <LayerView K, LayerView V>
void decode_head(const attention_shape& s, const K& keys, const V& values, index_t head, index_t tokens,
                 const float* queries, float* out, attention_scratch& scratch) {
  const index_t group = s.group(), n = s.head_dim, width = whole_lines(tokens);
  float* scores = scratch.at_least(group * (width + n) + n);
  float* scaled = scores + group * width;
  float* row_buffer = scaled + group * n;
  const float scale = s.score_scale();
  std::transform(queries, queries + group * n, scaled, [=](float q) { return q * scale; });

  for_each_row(keys, head, 0, tokens, n, row_buffer, [&](index_t token, const float* key) {
    for (index_t g = 0; g < group; ++g) scores[g * width + token] = dot(scaled + g * n, key, n);
  });
  for (index_t g = 0; g < group; ++g) {
    float* of_query = scores + g * width;
    const float sum = exponentials(of_query, tokens, largest(of_query, tokens));
    for (index_t t = 0; t < tokens; ++t) of_query[t] /= sum;
  }
  std::fill(out, out + group * n, 0.0f);
  for_each_row(values, head, 0, tokens, n, row_buffer, [&](index_t token, const float* value) {
    for (index_t g = 0; g < group; ++g) add_scaled(scores[g * width + token], value, out + g * n, n);
  });
}

}  // namespace kvsharer::inline v0::cpu::detail
