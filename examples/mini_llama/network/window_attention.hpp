// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "kvsharer/backend/cpu/attention.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/types.hpp"

namespace mini_llama {

/// A view without its first tokens.
template <kvsharer::LayerView V>
struct later_tokens {
  using value_type = typename V::value_type;
  V all;
  kvsharer::index_t first;

  float at(kvsharer::index_t head, kvsharer::index_t token, kvsharer::index_t channel) const {
    return all.at(head, first + token, channel);
  }
  const value_type* row(kvsharer::index_t head, kvsharer::index_t token) const requires kvsharer::RowContiguousView<V> {
    return all.row(head, first + token);
  }
  kvsharer::index_t token_stride() const requires kvsharer::TokenRunView<V> { return all.token_stride(); }
  kvsharer::index_t run(kvsharer::index_t token, kvsharer::index_t tokens) const requires kvsharer::TokenRunView<V> {
    return all.run(first + token, tokens);
  }
};

/// As kvsharer::cpu::attend for one piece of heads, but each row sees the last `window` tokens up to its own; 0 is no
/// window. Rows that see less than everything run one by one. O(rows x min(window, first + rows) x heads x head_dim).
template <class K, class V>
void attend_within(kvsharer::index_t window, const kvsharer::attention_shape& shape, const K& keys, const V& values,
                   kvsharer::index_t first, kvsharer::index_t rows, const float* queries, float* out,
                   kvsharer::cpu::attention_scratch& scratch, kvsharer::index_t head_begin,
                   kvsharer::index_t head_end) {
  using kvsharer::index_t;
  const index_t width = shape.heads * shape.head_dim;
  const index_t whole = window == 0 ? rows : std::clamp<index_t>(window - first, 0, rows);
  if (whole > 0) kvsharer::cpu::attend(shape, keys, values, first, whole, queries, out, scratch, head_begin, head_end);
  for (index_t r = whole; r < rows; ++r) {
    const index_t begin = first + r + 1 - window;
    kvsharer::cpu::attend(shape, later_tokens<K>{keys, begin}, later_tokens<V>{values, begin}, window - 1, 1,
                          queries + r * width, out + r * width, scratch, head_begin, head_end);
  }
}

}  // namespace mini_llama
