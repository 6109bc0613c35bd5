// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <type_traits>

#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/core/types.hpp"

/// A cache layout and its index that offer what their concepts ask and nothing more.
namespace archetypes {

using kvsharer::cache_shape;
using kvsharer::index_t;

/// IndexLayout: pages of [channel][token][head], the order in which nothing lies where one might guess.
class channel_first_index {
 public:
  static constexpr bool rows_contiguous = false;
  channel_first_index(cache_shape s, index_t page_tokens, const std::int32_t* pages)
      : pages_(pages), page_tokens_(page_tokens), heads_(s.kv_heads), page_(s.kv_heads * s.head_dim * page_tokens) {}
  index_t offset(index_t head, index_t token, index_t channel) const {
    return pages_[token / page_tokens_] * page_ + (channel * page_tokens_ + token % page_tokens_) * heads_ + head;
  }

 private:
  const std::int32_t* const pages_;
  const index_t page_tokens_, heads_, page_;
};

/// What converts to a C string.
struct text {
  operator const char*() const { return "channel first"; }
};

/// CacheLayout: copyable, and made from nothing but a page size.
class channel_first {
 public:
  explicit channel_first(int page_tokens) : page_tokens_(page_tokens) {}
  index_t page_tokens(cache_shape) const { return page_tokens_; }
  channel_first_index index(cache_shape s, const std::int32_t* pages) const { return {s, page_tokens_, pages}; }
  text name() const { return {}; }

 private:
  int page_tokens_;
};

static_assert(kvsharer::IndexLayout<channel_first_index> && !kvsharer::TokenRunLayout<channel_first_index>);
static_assert(!std::is_default_constructible_v<channel_first_index>);
static_assert(!std::is_copy_assignable_v<channel_first_index>);
static_assert(kvsharer::CacheLayout<channel_first> && !std::is_default_constructible_v<channel_first>);

}  // namespace archetypes
