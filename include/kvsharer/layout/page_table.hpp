// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::layout {

/// The order of a sequence in pages: token t is token t % page_tokens of the page pages[t / page_tokens], and pages are
/// `page` elements apart. The table is borrowed.
struct page_table {
  const std::int32_t* pages = nullptr;  ///< [token / page_tokens]: numbers of pages
  index_t page_tokens = 1;              ///< tokens of a page
  index_t page = 0;                     ///< elements from page to page

  KVSHARER_HD constexpr token_place place(index_t t) const noexcept {
    return {pages[t / page_tokens] * page, t % page_tokens};
  }
  KVSHARER_HD constexpr index_t run(index_t t, index_t tokens) const noexcept {
    const index_t left_in_page = page_tokens - t % page_tokens;
    return left_in_page < tokens ? left_in_page : tokens;
  }
};
static_assert(TokenOrder<page_table>);

}  // namespace kvsharer::inline v0::layout
