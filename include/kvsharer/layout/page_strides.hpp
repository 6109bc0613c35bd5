// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/divisor.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::layout {

/// A CacheLayout reduced to numbers once the shape is known: the tokens of a page, and the distances between its parts,
/// in elements. Kernels read these numbers, so they need not be compiled for each layout.
struct page_strides {
  index_t page_tokens = 1;  ///< tokens per page
  index_t page = 0;         ///< from page to page
  index_t head = 0;         ///< from head to head in a page
  index_t token = 0;        ///< from token to token in a page
  friend constexpr bool operator==(const page_strides&, const page_strides&) = default;
};

/// A CacheLayout with whole rows and runs of tokens, which strides can describe.
template <class L>
concept StridedLayout =
    CacheLayout<L> && TokenRunLayout<decltype(std::declval<const L&>().index(cache_shape{}, nullptr))>;

/// Finds the strides of a layout by asking for its offsets. Throws errc::bad_argument if the heads of a page, or its
/// tokens, do not lie at equal distances, errc::bad_shape for pages of 2^32 numbers or more. O(kv_heads).
template <StridedLayout L>
page_strides strides_of(const L& layout, cache_shape s) {
  const index_t tokens = layout.page_tokens(s);
  const std::array<std::int32_t, 2> table{0, 1};
  const auto index = layout.index(s, table.data());
  const page_strides found{.page_tokens = tokens,
                           .page = s.kv_heads * tokens * s.head_dim,
                           .head = s.kv_heads > 1 ? index.offset(1, 0, 0) - index.offset(0, 0, 0) : 0,
                           .token = index.token_stride()};
  bool equal = index.offset(0, 0, 0) == 0 && index.run(0, tokens) == tokens;
  for (index_t h = 0; h < s.kv_heads; ++h)
    for (const index_t t : {index_t{0}, tokens - 1})
      equal = equal && index.offset(h, t, 0) == h * found.head + t * found.token;
  if (!equal)
    throw error(errc::bad_argument,
                std::string("the layout \"") + static_cast<const char*>(layout.name()) +
                    "\" cannot be used on the device: in a page, the heads, and the tokens of a head, must lie at "
                    "equal distances, the first of them where the page begins");
  if (found.page > index_t{std::numeric_limits<std::uint32_t>::max()})
    throw error(errc::bad_shape, "a page of " + std::to_string(found.page) +
                                     " numbers; they are counted with 32 bits: take smaller pages");
  return found;
}

/// Finds rows through a block table by strides alone: token t of head h lies in the page pages[h * head_blocks + t /
/// page_tokens]. With head_blocks = 0 all heads share one list of pages. The table is borrowed. Strides have 32 bits,
/// since kernels multiply such numbers in one instruction; sums have 64.
struct page_index {
  const std::int32_t* pages = nullptr;  ///< [head_blocks > 0 ? head : 1][token / page_tokens]: numbers of pages
  std::uint32_t head_blocks = 0;        ///< entries from head to head in the table
  divisor page_tokens{};                ///< tokens per page
  std::uint32_t page = 0;               ///< elements from page to page
  std::uint32_t head = 0;               ///< elements from head to head in a page
  std::uint32_t token = 0;              ///< elements from token to token in a page

  static constexpr bool rows_contiguous = true;

  KVSHARER_HD constexpr index_t offset(index_t h, index_t t, index_t channel) const noexcept {
    return offset_in(*entry(h, t), h, t, channel);
  }
  /// The table entry with the page number of a token; kernels load it ahead of use.
  KVSHARER_HD constexpr const std::int32_t* entry(index_t h, index_t t) const noexcept {
    return pages + (static_cast<std::size_t>(h) * head_blocks + static_cast<std::size_t>(page_tokens.quotient(t)));
  }
  /// The offset of a token in page `number`. A negative number, which names no page, gives an offset beyond all pools.
  KVSHARER_HD constexpr index_t offset_in(std::int32_t number, index_t h, index_t t, index_t channel) const noexcept {
    const auto in_page = static_cast<std::uint32_t>(t - page_tokens.quotient(t) * page_tokens.value());
    return static_cast<index_t>(std::uint64_t{static_cast<std::uint32_t>(number)} * page +
                                std::uint64_t{static_cast<std::uint32_t>(h)} * head + std::uint64_t{in_page} * token) +
           channel;
  }
  KVSHARER_HD constexpr index_t token_stride() const noexcept { return token; }
  KVSHARER_HD constexpr index_t run(index_t t, index_t tokens) const noexcept {
    const index_t left_in_page = (page_tokens.quotient(t) + 1) * page_tokens.value() - t;
    return left_in_page < tokens ? left_in_page : tokens;
  }
};
static_assert(TokenRunLayout<page_index>);

/// The index of pages with such strides, `step` elements apart.
constexpr page_index index_of(const page_strides& s, const std::int32_t* pages, index_t step,
                              index_t head_blocks = 0) noexcept {
  return {.pages = pages,
          .head_blocks = static_cast<std::uint32_t>(head_blocks),
          .page_tokens = divisor(s.page_tokens),
          .page = static_cast<std::uint32_t>(step),
          .head = static_cast<std::uint32_t>(s.head),
          .token = static_cast<std::uint32_t>(s.token)};
}

}  // namespace kvsharer::inline v0::layout
