// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>

#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/backend/cpu/stored_pack.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES {

/// A row's numbers as floats: in the view's own memory if they are floats there, else decoded into `buffer` [channels].
template <class E>
const float* as_floats(const E* row, index_t channels, float* buffer) {
  if constexpr (std::same_as<E, float>) {
    return row;
  } else if constexpr (CacheElement<E>) {
    decode(row, channels, buffer);
    return buffer;
  } else {
    for (index_t d = 0; d < channels; ++d) buffer[d] = static_cast<float>(row[d]);
    return buffer;
  }
}

/// Calls f(token, row) for the tokens [begin, end) of one KV head, in order, with the result of `row` for each. A block
/// table is read once per page.
template <RowContiguousView V, class F>
void for_each_stored_row(const V& view, index_t head, index_t begin, index_t end, F&& f) {
  if constexpr (TokenRunView<V>) {
    const index_t stride = view.token_stride();
    for (index_t token = begin; token < end;) {
      const auto* row = view.row(head, token);
      for (const index_t last = token + view.run(token, end - token); token < last; ++token, row += stride)
        f(token, row);
    }
  } else {
    for (index_t token = begin; token < end; ++token) f(token, view.row(head, token));
  }
}

/// Calls f(token, row) for the tokens [begin, end) of one KV head, in order, with each row's `channels` numbers as
/// floats: in the view's own memory if they are neighbouring floats there, else decoded into `buffer` [channels]. Every
/// stored number is read once.
template <LayerView V, class F>
void for_each_row(const V& view, index_t head, index_t begin, index_t end, index_t channels, float* buffer, F&& f) {
  if constexpr (RowContiguousView<V>) {
    for_each_stored_row(view, head, begin, end,
                        [&](index_t token, const auto* row) { f(token, as_floats(row, channels, buffer)); });
  } else {
    for (index_t token = begin; token < end; ++token) {
      for (index_t d = 0; d < channels; ++d) buffer[d] = static_cast<float>(view.at(head, token, d));
      f(token, static_cast<const float*>(buffer));
    }
  }
}

/// Number of rows that are multiplied by all queries of a group before the next rows are read.
inline constexpr index_t block_rows = 16;

/// Pointers to the rows of a block of tokens. Those past the last token repeat it, so that blocks are always complete.
template <class E>
struct token_rows {
  const E* rows[block_rows];
};

/// Can rows be read in place?
template <class V>
concept StoredRowView = RowContiguousView<V> && CacheElement<typename V::value_type>;

/// Calls f(first token, block) for the tokens [first, last) of one KV head, block by block: with rows in the view's own
/// memory, which are fetched a block ahead since pages and strides hide them from the hardware, or else decoded into
/// `buffer` [block_rows * channels].
template <LayerView V, class F>
void for_each_block(const V& view, index_t head, index_t first, index_t last, index_t channels, float* buffer, F&& f) {
  if constexpr (StoredRowView<V>) {
    using element = typename V::value_type;
    constexpr auto line = static_cast<index_t>(64 / sizeof(element));
    const auto find = [&](index_t begin, token_rows<element>& block) {
      const index_t end = std::min(last, begin + block_rows);
      for_each_stored_row(view, head, begin, end, [&](index_t token, const element* row) {
        block.rows[token - begin] = row;
        for (index_t d = 0; d < channels; d += line) __builtin_prefetch(row + d);
      });
      if (end > begin) std::fill(block.rows + (end - begin), block.rows + block_rows, block.rows[end - begin - 1]);
    };
    token_rows<element> now, next;
    find(first, now);
    for (index_t begin = first; begin < last; begin += block_rows, now = next) {
      find(begin + block_rows, next);
      f(begin, now);
    }
  } else {
    token_rows<float> block;
    for (index_t begin = first; begin < last; begin += block_rows) {
      const index_t end = std::min(last, begin + block_rows);
      for (index_t token = begin; token < end; ++token) {
        float* row = buffer + (token - begin) * channels;
        for_each_row(view, head, token, token + 1, channels, row, [](index_t, const float*) {});
        block.rows[token - begin] = row;
      }
      std::fill(block.rows + (end - begin), block.rows + block_rows, block.rows[end - begin - 1]);
      f(begin, block);
    }
  }
}

}  // namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES
