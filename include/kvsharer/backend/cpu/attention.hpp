// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>

#include "kvsharer/backend/cpu/attention_scratch.hpp"
#include "kvsharer/backend/cpu/decode_attention.hpp"
#include "kvsharer/backend/cpu/parallel.hpp"
#include "kvsharer/backend/cpu/prefill_attention.hpp"
#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/attention_shape.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu::detail {

inline void check(const attention_shape& s, index_t first, index_t rows, index_t head_begin, index_t head_end) {
  check_shape(s);
  if (first < 0 || rows < 0 || head_begin < 0 || head_end > s.kv_heads)
    throw error(errc::out_of_range, "attention cannot be computed for " + std::to_string(rows) + " rows from token " +
                                        std::to_string(first) + " on and KV heads [" + std::to_string(head_begin) +
                                        ", " + std::to_string(head_end) + ") of " + std::to_string(s.kv_heads));
}

}  // namespace kvsharer::inline v0::cpu::detail

namespace kvsharer::inline v0::cpu::inline KVSHARER_LANES {

/// Causal attention of `rows` query rows of one sequence, the first of which stands at token `first`, over the tokens
/// that the views hold: row r sees the tokens [0, first + r], which must have been stored, and under a window of w only
/// the last w of them. Queries are [rows][heads * head_dim], out is [rows][heads * value_width()]; where the widths are
/// equal they may be the same memory. Of them only the groups of KV heads [head_begin, head_end) are read and written,
/// so that callers may spread heads over threads, each with its own scratch.
///
/// With one row every stored number is read once per KV head, else once per 64 rows. Rows that a window keeps from
/// seeing all run one by one, and read nothing before it. Results do not depend on where a view's numbers lie, bit for
/// bit. Allocates only while scratch grows. Throws errc::bad_shape and errc::out_of_range.
/// O(rows x min(window, first + rows) x heads x head_dim).
template <class K, class V>
void attend(const attention_shape& shape, const K& keys, const V& values, index_t first, index_t rows,
            const float* queries, float* out, attention_scratch& scratch, index_t head_begin, index_t head_end) {
  if constexpr (require_layer_view<K>() && require_layer_view<V>()) {
    detail::check(shape, first, rows, head_begin, head_end);
    const detail::row_strides stride{.queries = shape.heads * shape.head_dim, .out = shape.heads * shape.value_width()};
    const index_t seeing_all = shape.window == 0 ? rows : std::clamp<index_t>(shape.window - first, 0, rows);
    for (index_t head = head_begin; head < head_end; ++head) {
      const float* from = queries + head * shape.group() * shape.head_dim;
      float* to = out + head * shape.group() * shape.value_width();
      if (seeing_all > 1) detail::prefill_head(shape, keys, values, head, first, seeing_all, from, to, stride, scratch);
      for (index_t r = seeing_all > 1 ? seeing_all : 0; r < rows; ++r)
        detail::decode_head(shape, keys, values, head, shape.first_seen(first + r), first + r + 1,
                            from + r * stride.queries, to + r * stride.out, scratch);
    }
  }
}

/// The same for lists of tokens of different lengths: `firsts` [kv_heads] says in which slot of each head's list the
/// first row stands. For all heads, on all threads. Allocates. Throws errc::bad_shape for another number of heads.
template <class K, class V>
void attend(const attention_shape& shape, const K& keys, const V& values, std::span<const index_t> firsts, index_t rows,
            const float* queries, float* out) {
  if (static_cast<index_t>(firsts.size()) != shape.kv_heads)
    throw error(errc::bad_shape, std::to_string(firsts.size()) + " first slots for " + std::to_string(shape.kv_heads) +
                                     " KV heads; give one for each");
  parallel_for(shape.kv_heads, [&](index_t head) {
    attention_scratch scratch;
    attend(shape, keys, values, firsts[static_cast<std::size_t>(head)], rows, queries, out, scratch, head, head + 1);
  });
}

/// The same for all heads, on all threads. Allocates.
template <class K, class V>
void attend(const attention_shape& shape, const K& keys, const V& values, index_t first, index_t rows,
            const float* queries, float* out) {
  detail::check(shape, first, rows, 0, shape.kv_heads);
  parallel_for(shape.kv_heads, [&](index_t head) {
    attention_scratch scratch;
    attend(shape, keys, values, first, rows, queries, out, scratch, head, head + 1);
  });
}

}  // namespace kvsharer::inline v0::cpu::inline KVSHARER_LANES
