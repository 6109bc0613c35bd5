// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/paged_index.hpp"

namespace kvsharer::inline v0::layout {

/// The page size is a member of `paged`, chosen at run time.
inline constexpr index_t dynamic_page = 0;

/// Pages of [kv_head][slot][channel], found through block tables. `paged<16>{}` fixes the page size at compile time, so
/// that a shift replaces the division of the index; `paged<>{n}` takes it at run time.
template <index_t PageTokens = dynamic_page>
struct paged {
  static_assert(PageTokens > 0, "a page holds at least one token");
  KVSHARER_HD constexpr index_t page_tokens(cache_shape) const noexcept { return PageTokens; }
  KVSHARER_HD constexpr paged_index index(cache_shape s, const std::int32_t* pages) const noexcept {
    return {.pages = pages,
            .page_tokens = PageTokens,
            .page = s.kv_heads * PageTokens * s.head_dim,
            .head = PageTokens * s.head_dim,
            .token = s.head_dim};
  }
  constexpr const char* name() const noexcept { return "paged"; }
};

/// The form with the page size as a member, by default 16 tokens.
template <>
struct paged<dynamic_page> {
  index_t tokens = 16;  ///< of a page, at least 1
  KVSHARER_HD constexpr index_t page_tokens(cache_shape) const noexcept { return tokens; }
  KVSHARER_HD constexpr paged_index index(cache_shape s, const std::int32_t* pages) const noexcept {
    return {.pages = pages,
            .page_tokens = tokens,
            .page = s.kv_heads * tokens * s.head_dim,
            .head = tokens * s.head_dim,
            .token = s.head_dim};
  }
  constexpr const char* name() const noexcept { return "paged"; }
};
static_assert(CacheLayout<paged<16>> && CacheLayout<paged<>>);

}  // namespace kvsharer::inline v0::layout
