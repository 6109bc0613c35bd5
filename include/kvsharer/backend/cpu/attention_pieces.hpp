// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "kvsharer/backend/cpu/attention_scratch.hpp"
#include "kvsharer/backend/cpu/batch_scratch.hpp"
#include "kvsharer/backend/cpu/decode_attention.hpp"
#include "kvsharer/backend/cpu/decode_parts.hpp"
#include "kvsharer/backend/cpu/parallel.hpp"
#include "kvsharer/backend/cpu/prefill_attention.hpp"
#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
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

namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES {

/// What `attend` of a range of heads does (attention.hpp).
template <LayerView K, LayerView V>
void attend_heads(const attention_shape& shape, const K& keys, const V& values, index_t first, index_t rows,
                  const float* queries, float* out, attention_scratch& scratch, index_t head_begin, index_t head_end) {
  check(shape, first, rows, head_begin, head_end);
  const row_strides stride{.queries = shape.heads * shape.head_dim, .out = shape.heads * shape.value_width()};
  const index_t seeing_all = shape.window == 0 ? rows : std::clamp<index_t>(shape.window - first, 0, rows);
  for (index_t head = head_begin; head < head_end; ++head) {
    const float* from = queries + head * shape.group() * shape.head_dim;
    float* to = out + head * shape.group() * shape.value_width();
    if (seeing_all > 1) prefill_head(shape, keys, values, head, first, seeing_all, from, to, stride, scratch);
    for (index_t r = seeing_all > 1 ? seeing_all : 0; r < rows; ++r)
      decode_head(shape, keys, values, head, shape.first_seen(first + r), first + r + 1, from + r * stride.queries,
                  to + r * stride.out, scratch);
  }
}

/// All KV heads of all sequences, on all threads: rows_of(i, head) says which rows of sequence i ask, keys(i) and
/// values(i) are its views. A head's single row is cut into the parts that `attend` would compute one by one.
template <class Rows, class Keys, class Values>
void attend_in_pieces(const attention_shape& shape, index_t sequences, Rows&& rows_of, Keys&& keys, Values&& values,
                      const float* queries, float* out, batch_scratch& scratch) {
  check_shape(shape);
  const index_t items = sequences * shape.kv_heads, state = part_state::floats(shape);
  const auto parts_of = [&](const query_rows& r) {
    const index_t seen = r.first + 1 - shape.first_seen(r.first);
    return decode_parts(shape, r.rows == 1 ? seen : 0);
  };
  std::vector<index_t>& first_piece = scratch.first_piece;
  first_piece.assign(1, 0);
  for (index_t item = 0; item < items; ++item) {
    const query_rows r = rows_of(item / shape.kv_heads, item % shape.kv_heads);
    check(shape, r.first, r.rows, 0, shape.kv_heads);
    first_piece.push_back(first_piece.back() + parts_of(r).count());
  }
  const index_t pieces = first_piece.back();
  if (static_cast<index_t>(scratch.pieces.size()) < pieces) scratch.pieces.resize(static_cast<std::size_t>(pieces));
  const auto memory = [&](index_t piece) -> attention_scratch& {
    return scratch.pieces[static_cast<std::size_t>(piece)];
  };
  const auto of_row = [&](const query_rows& r, index_t head, index_t width) {
    return (r.begin * shape.heads + head * shape.group()) * width;
  };

  parallel_for(pieces, [&](index_t piece) {
    const auto item = std::upper_bound(first_piece.begin(), first_piece.end(), piece) - first_piece.begin() - 1;
    const index_t i = item / shape.kv_heads, head = item % shape.kv_heads;
    const query_rows r = rows_of(i, head);
    const decode_parts parts = parts_of(r);
    if (parts.count() == 1) {
      attend_heads(shape, keys(i), values(i), r.first, r.rows, queries + r.begin * shape.heads * shape.head_dim,
                   out + r.begin * shape.heads * shape.value_width(), memory(piece), head, head + 1);
      return;
    }
    const index_t p = piece - first_piece[static_cast<std::size_t>(item)], first = shape.first_seen(r.first);
    float* numbers = memory(piece).at_least(state + decode_room(shape, parts.longest()));
    decode_part(shape, keys(i), values(i), head, first + parts.begin(p), first + parts.begin(p + 1),
                queries + of_row(r, head, shape.head_dim), part_state(numbers, shape), numbers + state);
  });
  if (pieces == items) return;
  parallel_for(items, [&](index_t item) {
    const index_t begin = first_piece[static_cast<std::size_t>(item)];
    const index_t count = first_piece[static_cast<std::size_t>(item) + 1] - begin, head = item % shape.kv_heads;
    if (count == 1) return;
    merge_parts(
        shape, count, [&](index_t p) { return part_state(memory(begin + p).numbers.data(), shape); },
        out + of_row(rows_of(item / shape.kv_heads, head), head, shape.value_width()));
  });
}

}  // namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES
