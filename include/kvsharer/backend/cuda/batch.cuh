// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda {

/// The rows of one launch: the newest tokens of every sequence, one row each, sequence after sequence. Numbers that
/// change while sequences grow lie in device memory, so that a captured graph follows them.
struct ragged_batch {
  index_t sequences = 0;  ///< in the launch
  index_t rows = 0;       ///< of all sequences together; an upper bound if row_begin is given
  index_t max_rows = 1;   ///< the most rows of one sequence

  const std::int32_t* lengths = nullptr;    ///< [place]: tokens of the sequence, these rows included
  const std::int32_t* places = nullptr;     ///< [sequences]: index of a sequence in `lengths` and the views; null: b
  const std::int32_t* row_begin = nullptr;  ///< [sequences + 1]: the first row of each; null: one row per sequence
  /// [place]: the position of the next token after the sequence's newest; null: the sequence's length, which is right
  /// until tokens are removed from the middle.
  const std::int32_t* positions = nullptr;

  /// May decode attention read, before the launch before it has ended, all lengths, places, row_begin and block tables,
  /// and the rows of all tokens but the newest rows_of(b)? Whoever sets this promises that no launch that may still run
  /// writes them; docs/reference/cuda-backend.md has the rules. The result is the same.
  bool settled = false;

  /// The index of the b-th sequence of the launch in `lengths` and the views.
  KVSHARER_HD index_t place(index_t b) const noexcept { return places != nullptr ? places[b] : b; }
  /// Tokens of the b-th sequence, the rows of this launch included.
  KVSHARER_HD index_t length(index_t b) const noexcept { return lengths[place(b)]; }
  /// The position of row r of the b-th sequence, counted among its rows in this launch.
  KVSHARER_HD index_t position(index_t b, index_t r) const noexcept {
    return (positions != nullptr ? positions : lengths)[place(b)] - rows_of(b) + r;
  }
  /// The first row of the b-th sequence.
  KVSHARER_HD index_t first_row(index_t b) const noexcept { return row_begin != nullptr ? row_begin[b] : b; }
  /// Rows of the b-th sequence in this launch.
  KVSHARER_HD index_t rows_of(index_t b) const noexcept {
    return row_begin != nullptr ? row_begin[b + 1] - row_begin[b] : 1;
  }
};

/// The lengths of the lists that KV heads read, found by strides, whether heads have lists of their own or not.
struct list_counts {
  const std::int32_t* counts = nullptr;  ///< in device memory; null: those of the batch
  std::int32_t place_step = 1;           ///< from sequence to sequence
  std::int32_t head_step = 0;            ///< from KV head to KV head; 0 where they share a list

  /// Tokens of the list, the rows of this launch included.
  KVSHARER_HD index_t of(index_t place, index_t kv_head) const noexcept {
    return counts[static_cast<std::int32_t>(place) * place_step + static_cast<std::int32_t>(kv_head) * head_step];
  }
  friend constexpr bool operator==(const list_counts&, const list_counts&) = default;
};

/// One layer's keys or values of many sequences, as kernels read them.
///
/// Required of `const B b`: b.sequence(place) -> RowContiguousView, whose rows begin at multiples of 16 bytes.
/// Optional: find(head, token) of a view, its row, or null if there is none, and capacity() of the batch, the most
/// tokens of a sequence; with these, kernels report a missing row instead of reading it. A batch whose lists have other
/// lengths than the sequences of a ragged_batch may have counts(), a list_counts.
template <class B>
concept BatchView = std::is_trivially_copyable_v<B> && requires(const B b, index_t place) {
  { b.sequence(place) } -> RowContiguousView;
};

/// The stored type of a batch of views.
template <BatchView B>
using stored_type = typename std::remove_cvref_t<decltype(std::declval<const B&>().sequence(0))>::value_type;

/// Keys and values that the device's attention can read: rows of the same type, one that caches can store.
template <class K, class V>
concept AttendedViews =
    BatchView<K> && BatchView<V> && CacheElement<stored_type<K>> && std::same_as<stored_type<K>, stored_type<V>>;

/// Do K and V satisfy AttendedViews? If not, says why.
template <class K, class V>
consteval bool require_attended_views() {
  constexpr bool rows = BatchView<K> && BatchView<V>;
  static_assert(rows,
                "kvsharer E212: the device's attention reads whole rows: of keys and of values, `sequence(place)` must "
                "return a RowContiguousView; transposed, tiled and scaled memory is for the CPU backend");
  if constexpr (rows) {
    constexpr bool numbers = AttendedViews<K, V>;
    static_assert(numbers,
                  "kvsharer E213: the device's attention reads float, kvsharer::float16 or kvsharer::bfloat16, keys "
                  "and values alike");
    return numbers;
  } else {
    return false;
  }
}

/// The most tokens that a sequence of this batch of views can have; `unbounded` if the batch does not say.
template <BatchView B>
KVSHARER_HD index_t capacity_of(const B& batch, index_t unbounded) noexcept {
  if constexpr (requires { batch.capacity(); })
    return batch.capacity();
  else
    return unbounded;
}

/// The lengths of the lists of these views.
template <BatchView B>
list_counts counts_of(const B& views, const ragged_batch& batch) noexcept {
  if constexpr (requires { views.counts(); })
    if (const list_counts own = views.counts(); own.counts != nullptr) return own;
  return {.counts = batch.lengths};
}

/// The row of a token, or null if the view knows that there is none.
template <RowContiguousView V>
KVSHARER_HD const typename V::value_type* find_row(const V& view, index_t head, index_t token) noexcept {
  if constexpr (requires { view.find(head, token); })
    return view.find(head, token);
  else
    return view.row(head, token);
}

/// A view that finds rows through page numbers, which kernels can load ahead of use: entry(head, token) is the address
/// of such a number, find_in(page, head, token) the row of a token whose page is known.
template <class V>
concept PagedRowView = RowContiguousView<V> && requires(const V& view, std::int32_t page, index_t i) {
  { view.entry(i, i) } -> std::same_as<const std::int32_t*>;
  { view.find_in(page, i, i) } -> std::convertible_to<const typename V::value_type*>;
};

}  // namespace kvsharer::inline v0::cuda
