// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>

#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// The bytes of one KV head's columns in a page of one plane: the numbers or codes, and their scales.
struct page_columns {
  index_t codes = 0;   ///< bytes
  index_t scales = 0;  ///< bytes; 0 for codecs without scales
  friend constexpr bool operator==(page_columns, page_columns) = default;
};

/// How many of a list's newest tokens stay exact, and how many tokens are encoded at once.
struct tail_rule {
  index_t exact = 0;  ///< newest tokens kept as rows of C::element
  index_t flush = 1;  ///< tokens that leave the tail together
  friend constexpr bool operator==(tail_rule, tail_rule) = default;
};

/// The columns of one KV head in a page.
template <class Byte>
struct page_part {
  Byte* codes = nullptr;   ///< columns.codes bytes
  Byte* scales = nullptr;  ///< columns.scales bytes
  index_t channels = 0;    ///< of a row
  index_t tokens = 0;      ///< for which the page has room
};

/// How a kept token is stored and read back. A codec owns nothing and is copied into kernels. It applies to one plane,
/// so keys and values may have different codecs.
///
/// Required of `const C c`:
///   C::element                          the type of exact rows, a CacheElement
///   C::rotated -> bool                  are keys stored after RoPE?
///   c.name() -> const char*             in plans, streams and error texts
///   c.columns(channels, tokens)         bytes of a KV head's columns in a page of `tokens` tokens: page_columns
///   c.tail() -> tail_rule               exact newest tokens
///   c.at(part, slot, channel) -> float  one number, for tests and for views without rows
///   c.encode(rows, count, part, slot)   `count` rows of `channels` floats into the slots from `slot` on
template <class C>
concept KVCodec = std::is_trivially_copyable_v<C> && CacheElement<typename C::element> &&
    requires(const C c, page_part<const std::byte> from, page_part<std::byte> to, const float* rows, index_t i) {
  {std::bool_constant<C::rotated>{}};
  { c.name() } -> std::convertible_to<const char*>;
  { c.columns(i, i) } -> std::same_as<page_columns>;
  { c.tail() } -> std::same_as<tail_rule>;
  { c.at(from, i, i) } -> std::same_as<float>;
  c.encode(rows, i, to, i);
};

}  // namespace kvsharer::inline v0
