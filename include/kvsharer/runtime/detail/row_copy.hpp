// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>

#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::detail {

template <CacheElement E>
void convert(const float* from, index_t count, E* to) noexcept {
  if constexpr (std::same_as<E, float>)
    std::copy_n(from, count, to);
  else
    for (index_t i = 0; i < count; ++i) to[i] = E(from[i]);
}

/// Rows [token][kv_head * head_dim] of floats into the tokens [first, first + tokens) that `index` finds in `plane`.
/// A run of tokens needs one offset; where heads, and then tokens, are neighbours too, whole rows go at once.
template <CacheElement E, IndexLayout Index>
void store_rows(const float* rows, cache_shape shape, const Index& index, index_t first, index_t tokens,
                E* plane) noexcept {
  const index_t heads = shape.kv_heads, dim = shape.head_dim, row = heads * dim;
  if constexpr (TokenRunLayout<Index>) {
    const index_t token_stride = index.token_stride();
    for (index_t t = first, end = first + tokens; t < end;) {
      const index_t run = index.run(t, end - t);
      E* const to = plane + index.offset(0, t, 0);
      const index_t head_stride = heads > 1 ? index.offset(1, t, 0) - index.offset(0, t, 0) : dim;
      if (head_stride == dim && token_stride == row) {
        convert(rows, run * row, to);
      } else {
        for (index_t h = 0; h < heads; ++h)
          for (index_t i = 0; i < run; ++i)
            convert(rows + i * row + h * dim, dim, to + h * head_stride + i * token_stride);
      }
      rows += run * row;
      t += run;
    }
  } else {
    for (index_t t = first; t < first + tokens; ++t, rows += row)
      for (index_t h = 0; h < heads; ++h)
        for (index_t c = 0; c < dim; ++c) plane[index.offset(h, t, c)] = E(rows[h * dim + c]);
  }
}

/// The first `tokens` tokens of one page into another of the same plane, both seen as sequences of one page.
template <CacheElement E, IndexLayout Index>
void copy_tokens(cache_shape shape, const Index& from, const Index& to, index_t tokens, E* plane) noexcept {
  for (index_t h = 0; h < shape.kv_heads; ++h)
    for (index_t t = 0; t < tokens; ++t) {
      if constexpr (Index::rows_contiguous)
        std::copy_n(plane + from.offset(h, t, 0), shape.head_dim, plane + to.offset(h, t, 0));
      else
        for (index_t c = 0; c < shape.head_dim; ++c) plane[to.offset(h, t, c)] = plane[from.offset(h, t, c)];
    }
}

}  // namespace kvsharer::inline v0::detail
