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

/// The rows that one launch works on: of every sequence its newest tokens, one row each, sequence after sequence.
/// Numbers that change while sequences grow lie in device memory, so that a captured graph follows them.
struct ragged_batch {
  index_t sequences = 0;  ///< in the launch
  index_t rows = 0;       ///< of all sequences together; at most, where row_begin is given
  index_t max_rows = 1;   ///< of one sequence, at most

  const std::int32_t* lengths = nullptr;    ///< [place]: tokens of the sequence, these rows included
  const std::int32_t* places = nullptr;     ///< [sequences]: where `lengths` and the views have a sequence; null: b
  const std::int32_t* row_begin = nullptr;  ///< [sequences + 1]: the first row of each; null: one row per sequence
  /// [place]: where the token after the sequence's newest stands in the text; null: as many tokens as it has, which is
  /// so until tokens are taken out of the middle.
  const std::int32_t* positions = nullptr;

  /// Where `lengths` and the views have the b-th sequence of the launch.
  KVSHARER_HD index_t place(index_t b) const noexcept { return places != nullptr ? places[b] : b; }
  /// Tokens of the b-th sequence, the rows of this launch included.
  KVSHARER_HD index_t length(index_t b) const noexcept { return lengths[place(b)]; }
  /// Where row r of the b-th sequence, of its rows in this launch, stands in the text.
  KVSHARER_HD index_t position(index_t b, index_t r) const noexcept {
    return (positions != nullptr ? positions : lengths)[place(b)] - rows_of(b) + r;
  }
  /// The first row of the b-th sequence.
  KVSHARER_HD index_t first_row(index_t b) const noexcept { return row_begin != nullptr ? row_begin[b] : b; }
  /// How many rows the b-th sequence has in this launch.
  KVSHARER_HD index_t rows_of(index_t b) const noexcept {
    return row_begin != nullptr ? row_begin[b + 1] - row_begin[b] : 1;
  }
};

/// How many tokens the list has from which a KV head of a sequence reads: by strides, whether heads have lists of their
/// own or not.
struct list_counts {
  const std::int32_t* counts = nullptr;  ///< in device memory; null: those of the batch
  std::int32_t place_step = 1;           ///< from sequence to sequence
  std::int32_t head_step = 0;            ///< from KV head to KV head; 0 where they share a list

  /// Tokens, the rows of this launch included.
  KVSHARER_HD index_t of(index_t place, index_t kv_head) const noexcept {
    return counts[static_cast<std::int32_t>(place) * place_step + static_cast<std::int32_t>(kv_head) * head_step];
  }
  friend constexpr bool operator==(const list_counts&, const list_counts&) = default;
};

/// One layer's keys or values of many sequences, as kernels read them.
///
/// Required of `const B b`: b.sequence(place) -> RowContiguousView, whose rows begin at multiples of 16 bytes.
/// A view may also have find(head, token), which is its row or null where none can be, and the batch capacity(), the
/// tokens that a sequence can have; kernels then report a row that is not there instead of reading it. A batch may have
/// counts(), a list_counts, where its lists have other lengths than the sequences of a ragged_batch.
template <class B>
concept BatchView = std::is_trivially_copyable_v<B> && requires(const B b, index_t place) {
  { b.sequence(place) } -> RowContiguousView;
};

/// The type of the numbers that a batch of views reads.
template <BatchView B>
using stored_type = typename std::remove_cvref_t<decltype(std::declval<const B&>().sequence(0))>::value_type;

/// Keys and values that the device's attention can read: rows of one type that caches store.
template <class K, class V>
concept AttendedViews =
    BatchView<K> && BatchView<V> && CacheElement<stored_type<K>> && std::same_as<stored_type<K>, stored_type<V>>;

/// Are they? If not, says why.
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

/// Tokens that a sequence of this batch of views can have; `unbounded` where the batch does not say.
template <BatchView B>
KVSHARER_HD index_t capacity_of(const B& batch, index_t unbounded) noexcept {
  if constexpr (requires { batch.capacity(); })
    return batch.capacity();
  else
    return unbounded;
}

/// How many tokens the lists of these views have.
template <BatchView B>
list_counts counts_of(const B& views, const ragged_batch& batch) noexcept {
  if constexpr (requires { views.counts(); })
    if (const list_counts own = views.counts(); own.counts != nullptr) return own;
  return {.counts = batch.lengths};
}

/// The row of a token, or null where the view knows that there is none.
template <RowContiguousView V>
KVSHARER_HD const typename V::value_type* find_row(const V& view, index_t head, index_t token) noexcept {
  if constexpr (requires { view.find(head, token); })
    return view.find(head, token);
  else
    return view.row(head, token);
}

/// A view that finds rows through the numbers of pages, which kernels can ask for before they need them: entry(head,
/// token) is where such a number is, find_in(page, head, token) the row of a token whose page is known.
template <class V>
concept PagedRowView = RowContiguousView<V> && requires(const V& view, std::int32_t page, index_t i) {
  { view.entry(i, i) } -> std::same_as<const std::int32_t*>;
  { view.find_in(page, i, i) } -> std::convertible_to<const typename V::value_type*>;
};

}  // namespace kvsharer::inline v0::cuda
