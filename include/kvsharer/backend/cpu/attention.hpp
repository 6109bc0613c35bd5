// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <type_traits>

#include "kvsharer/backend/cpu/attention_pieces.hpp"
#include "kvsharer/backend/cpu/attention_scratch.hpp"
#include "kvsharer/backend/cpu/batch_scratch.hpp"
#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/attention_shape.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu::inline KVSHARER_LANES {

/// Causal attention of `rows` query rows of one sequence, the first of which stands at token `first`, over the tokens
/// that the views hold: row r sees the tokens [0, first + r], which must have been stored, and under a window of w only
/// the last w of them. Queries are [rows][heads * head_dim], out is [rows][heads * value_width()]; where the widths are
/// equal they may be the same memory. Of them only the groups of KV heads [head_begin, head_end) are read and written,
/// so that callers may spread heads over threads, each with its own scratch.
///
/// With one row every stored number is read once per KV head, else once per 64 rows. Rows that a window keeps from
/// seeing all run one by one, and read nothing before it. Results do not depend on where a view's numbers lie, nor on
/// which form of `attend` computes them, nor on the number of threads, bit for bit. A row that runs alone and sees at
/// least 1024 tokens, of at most 16 KV heads, is computed in parts whose number depends on these two numbers alone.
/// Allocates only while scratch grows. Throws errc::bad_shape and errc::out_of_range.
/// O(rows x min(window, first + rows) x heads x head_dim).
template <class K, class V>
void attend(const attention_shape& shape, const K& keys, const V& values, index_t first, index_t rows,
            const float* queries, float* out, attention_scratch& scratch, index_t head_begin, index_t head_end) {
  if constexpr (require_layer_view<K>() && require_layer_view<V>()) {
    detail::attend_heads(shape, keys, values, first, rows, queries, out, scratch, head_begin, head_end);
  }
}

/// The same for the rows of many sequences, for all heads, on all threads: keys(i) and values(i) are the views of
/// sequence i, and batch[i] says which rows are its own. Where sequences and KV heads are fewer than threads, several
/// threads work on the context of a single row. Allocates only while scratch grows. Throws as `attend` does.
template <class Keys, class Values>
void attend(const attention_shape& shape, std::span<const query_rows> batch, Keys&& keys, Values&& values,
            const float* queries, float* out, batch_scratch& scratch) {
  if constexpr (require_layer_view<std::decay_t<decltype(keys(index_t{}))>>() &&
                require_layer_view<std::decay_t<decltype(values(index_t{}))>>()) {
    const auto rows_of = [&](index_t i, index_t) { return batch[static_cast<std::size_t>(i)]; };
    detail::attend_in_pieces(shape, static_cast<index_t>(batch.size()), rows_of, keys, values, queries, out, scratch);
  }
}

/// The same for lists of tokens of different lengths: `firsts` [kv_heads] says in which slot of each head's list the
/// first row stands. For all heads, on all threads. Allocates. Throws errc::bad_shape for another number of heads.
template <class K, class V>
void attend(const attention_shape& shape, const K& keys, const V& values, std::span<const index_t> firsts, index_t rows,
            const float* queries, float* out) {
  if constexpr (require_layer_view<K>() && require_layer_view<V>()) {
    if (static_cast<index_t>(firsts.size()) != shape.kv_heads)
      throw error(errc::bad_shape, std::to_string(firsts.size()) + " first slots for " +
                                       std::to_string(shape.kv_heads) + " KV heads; give one for each");
    batch_scratch scratch;
    const auto rows_of = [&](index_t, index_t head) {
      return query_rows{.first = firsts[static_cast<std::size_t>(head)], .rows = rows};
    };
    detail::attend_in_pieces(
        shape, 1, rows_of, [&](index_t) { return keys; }, [&](index_t) { return values; }, queries, out, scratch);
  }
}

/// The same for one sequence, for all heads, on all threads. Allocates.
template <class K, class V>
void attend(const attention_shape& shape, const K& keys, const V& values, index_t first, index_t rows,
            const float* queries, float* out) {
  if constexpr (require_layer_view<K>() && require_layer_view<V>()) {
    batch_scratch scratch;
    detail::attend_in_pieces(
        shape, 1, [&](index_t, index_t) { return query_rows{.first = first, .rows = rows}; },
        [&](index_t) { return keys; }, [&](index_t) { return values; }, queries, out, scratch);
  }
}

}  // namespace kvsharer::inline v0::cpu::inline KVSHARER_LANES
