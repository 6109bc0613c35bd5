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

/// Do the heads of a token follow one another, so that its whole row is one piece?
template <IndexLayout Index>
bool heads_adjacent(cache_shape shape, const Index& index, index_t token) noexcept {
  const index_t base = index.offset(0, token, 0);
  for (index_t h = 1; h < shape.kv_heads; ++h)
    if (index.offset(h, token, 0) != base + h * shape.head_dim) return false;
  return true;
}

/// Writes rows [token][kv_head * head_dim] of floats to the tokens [first, first + tokens) that `index` finds in
/// `plane`. Offsets are computed once per run of tokens; a run without gaps between its rows is copied in one piece.
template <CacheElement E, IndexLayout Index>
void store_rows(const float* rows, cache_shape shape, const Index& index, index_t first, index_t tokens,
                E* plane) noexcept {
  const index_t heads = shape.kv_heads, dim = shape.head_dim, row = heads * dim;
  if constexpr (TokenRunLayout<Index>) {
    const index_t stride = index.token_stride();
    for (index_t t = first, end = first + tokens; t < end;) {
      const index_t run = index.run(t, end - t);
      if (stride == row && heads_adjacent(shape, index, t)) {
        convert(rows, run * row, plane + index.offset(0, t, 0));
      } else {
        for (index_t h = 0; h < heads; ++h) {
          E* const to = plane + index.offset(h, t, 0);
          for (index_t i = 0; i < run; ++i) convert(rows + i * row + h * dim, dim, to + i * stride);
        }
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

/// Copies the first `tokens` tokens of a page to another page of the same plane, both seen as sequences of one page.
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

/// Copies one token's rows to another slot of the same sequence and plane.
template <CacheElement E, IndexLayout Index>
void move_token(cache_shape shape, const Index& index, index_t from, index_t to, E* plane) noexcept {
  for (index_t h = 0; h < shape.kv_heads; ++h)
    for (index_t c = 0; c < shape.head_dim; ++c) plane[index.offset(h, to, c)] = plane[index.offset(h, from, c)];
}

}  // namespace kvsharer::inline v0::detail
