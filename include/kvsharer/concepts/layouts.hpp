// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// Computes the offset of one number of a layer's keys or values, in elements from the start of its plane. An index
/// layout owns nothing and is copied into kernels.
///
/// Required of `const L l`:
///   l.offset(head, token, channel) -> index_t
///   L::rows_contiguous -> bool    are the head_dim channels of a row neighbours?
template <class L>
concept IndexLayout = std::is_trivially_copyable_v<L> && requires(const L l, index_t i) {
  { l.offset(i, i, i) } -> std::same_as<index_t>;
  {std::bool_constant<L::rows_contiguous>{}};
};

/// An index layout with contiguous rows and runs of tokens at a constant distance, so that loops over tokens need no
/// division.
///
/// Required besides:
///   l.token_stride() -> index_t          elements from a token to the next within a run
///   l.run(token, tokens) -> index_t      how many of the `tokens` from `token` on lie in one run; at least 1
template <class L>
concept TokenRunLayout = IndexLayout<L> && L::rows_contiguous && requires(const L l, index_t i) {
  { l.token_stride() } -> std::same_as<index_t>;
  { l.run(i, i) } -> std::same_as<index_t>;
};

/// The place of a token in memory: token number `token` of the memory that begins at element `base`.
struct token_place {
  index_t base = 0;   ///< in elements
  index_t token = 0;  ///< in tokens, from there
};

/// Maps the tokens of a sequence, ordered by age, to tokens in memory: a block table, or a ring. Combined with an
/// IndexLayout of the memory it is another IndexLayout (`layout::reordered_index`).
///
/// Required of `const O o`:
///   o.place(token) -> token_place
///   o.run(token, tokens) -> index_t      how many of the `tokens` from `token` on are contiguous; at least 1
template <class O>
concept TokenOrder = std::is_trivially_copyable_v<O> && requires(const O o, index_t i) {
  { o.place(i) } -> std::same_as<token_place>;
  { o.run(i, i) } -> std::same_as<index_t>;
};

/// The layout of one layer's keys (or values) in a pool of `shared_cache`: the size of pages, and the order of heads
/// and tokens in a page. In a contiguous layout a sequence is one page.
///
/// Required of `const L l`, with `shape` the cache's shape and `pages` a sequence's block table:
///   l.page_tokens(shape) -> index_t           tokens a page holds; at least 1
///   l.index(shape, pages) -> IndexLayout      rows of that sequence, from the start of the pool; page p occupies the
///                                             elements [p, p + 1) * kv_heads * page_tokens * head_dim
///   l.name() -> const char*                   for error messages and reports
template <class L>
concept CacheLayout = std::copyable<L> && requires(const L l, cache_shape shape, const std::int32_t* pages) {
  { l.page_tokens(shape) } -> std::same_as<index_t>;
  { l.index(shape, pages) } -> IndexLayout;
  { l.name() } -> std::convertible_to<const char*>;
};

}  // namespace kvsharer::inline v0
