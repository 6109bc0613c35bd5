// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::layout {

/// Rows found through a sequence's block table: token t lies in page `pages[t / page_tokens]`. Distances are in
/// elements: `page` from page to page, `head` and `token` within one. The table is borrowed and must hold a valid page
/// for every token that is read.
struct paged_index {
  const std::int32_t* pages = nullptr;  ///< [token / page_tokens]: numbers of pages
  index_t page_tokens = 1;              ///< tokens of a page
  index_t page = 0;                     ///< elements from page to page
  index_t head = 0;                     ///< elements from head to head in a page
  index_t token = 0;                    ///< elements from token to token in a page
  index_t base = 0;                     ///< elements before the first page

  static constexpr bool rows_contiguous = true;

  KVSHARER_HD constexpr index_t offset(index_t h, index_t t, index_t channel) const noexcept {
    return base + pages[t / page_tokens] * page + h * head + (t % page_tokens) * token + channel;
  }
  KVSHARER_HD constexpr index_t token_stride() const noexcept { return token; }
  KVSHARER_HD constexpr index_t run(index_t t, index_t tokens) const noexcept {
    const index_t left_in_page = page_tokens - t % page_tokens;
    return left_in_page < tokens ? left_in_page : tokens;
  }
};
static_assert(TokenRunLayout<paged_index>);

}  // namespace kvsharer::inline v0::layout
