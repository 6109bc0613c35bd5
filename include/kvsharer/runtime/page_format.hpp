// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/concepts/codecs.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// The bytes of a page of one plane, and where its columns lie: the codes of all its KV heads, then their scales.
/// Allocation, footprints, streams and kernels all take their sizes from here, so they agree.
struct page_format {
  index_t tokens = 0;      ///< tokens per page
  index_t heads = 0;       ///< KV heads in a page
  index_t channels = 0;    ///< numbers of a head's row
  page_columns head = {};  ///< bytes of one KV head

  /// Bytes from the beginning of a page to the codes of a KV head.
  constexpr index_t codes_at(index_t kv_head) const noexcept { return kv_head * head.codes; }
  /// Bytes from the beginning of a page to the scales of a KV head.
  constexpr index_t scales_at(index_t kv_head) const noexcept { return heads * head.codes + kv_head * head.scales; }
  /// Bytes of the page.
  constexpr index_t bytes() const noexcept { return heads * (head.codes + head.scales); }
  /// Bytes of a token in all heads of the page. Exact if the columns of a page grow with its tokens.
  constexpr index_t token_bytes() const noexcept { return tokens > 0 ? bytes() / tokens : 0; }
};

/// The format of a codec's pages.
template <KVCodec C>
constexpr page_format format_of(const C& codec, index_t tokens, index_t heads, index_t channels) noexcept {
  return {.tokens = tokens, .heads = heads, .channels = channels, .head = codec.columns(channels, tokens)};
}

}  // namespace kvsharer::inline v0
