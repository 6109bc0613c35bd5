// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <istream>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "kvsharer/core/element.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/hash.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/runtime/sequence_table.hpp"

/// The byte stream of one saved sequence. It names neither layout nor page size, so any cache of the same model, map
/// and element type restores what another one saved. All numbers are little-endian:
///
///   "KVSHARER"  u32 version  u32 element code  i64 layers, kv_heads, channels of keys, of values  u64 cache_plan::hash
///   i64 length, next position  u32 lists  u64 tag size  tag  u64 checksum
///   where lists is not 1: u32 length of every list
///   where next position differs from length, or lists is not 1: u32 position of every token of every list
///   the keys of every layer that stores any, then the values, each [token][kv_head][channel] in the stored type; lists
///   that are shorter than the longest have no rows past their end
///   u64 checksum
///
/// A checksum is fnv1a over all bytes before it, checksums included: one flipped byte always changes it.
namespace kvsharer::inline v0 {

/// The header of a saved sequence, which precedes its numbers.
struct cache_stream_header {
  static constexpr std::string_view magic = "KVSHARER";  ///< the first bytes of a stream
  static constexpr std::uint32_t version = 3;            ///< of the format, after `magic`

  std::uint32_t element = 0;    ///< cache_stream_code
  cache_shape shape;            ///< capacity is not part of the stream
  std::uint64_t plan_hash = 0;  ///< cache_plan::hash() of the cache that saved it
  index_t length = 0;           ///< tokens of the sequence
  index_t next_position = 0;    ///< position of the next token
  index_t lists = 1;            ///< lists whose lengths follow; 1 where all have the same tokens

  /// Were tokens removed from the middle, so that positions follow?
  constexpr bool has_holes() const noexcept { return next_position != length || lists != 1; }
};

/// The number by which a stream names its stored type.
template <CacheElement E>
inline constexpr std::uint32_t cache_stream_code = std::same_as<E, float>     ? 1
                                                   : std::same_as<E, float16> ? 2
                                                                              : 3;

namespace detail {

template <CacheElement E>
using element_bits = std::conditional_t<std::same_as<E, float>, std::uint32_t, std::uint16_t>;

/// Writes numbers and rows and adds them to the checksum. Throws errc::file_access if the stream fails.
class cache_stream_writer {
 public:
  explicit cache_stream_writer(std::ostream& out) : out_(out) {}

  template <std::unsigned_integral U>
  void number(U x) {
    std::array<unsigned char, sizeof(U)> bytes;
    encode(x, bytes.data());
    write(bytes.data(), bytes.size());
  }
  void text(std::string_view s) {
    for (const char c : s) number(static_cast<unsigned char>(c));
  }
  void checksum() { number(sum_.value()); }

  /// `count` elements, element(i) being the i-th.
  template <class Element>
  void row(index_t count, Element&& element) {
    using E = std::remove_cvref_t<decltype(element(0))>;
    std::array<unsigned char, 1024> bytes;
    constexpr auto at_once = static_cast<index_t>(bytes.size() / sizeof(E));
    for (index_t i = 0; i < count; i += at_once) {
      const index_t n = std::min(at_once, count - i);
      for (index_t j = 0; j < n; ++j)
        encode(std::bit_cast<element_bits<E>>(element(i + j)), bytes.data() + j * static_cast<index_t>(sizeof(E)));
      write(bytes.data(), static_cast<std::size_t>(n) * sizeof(E));
    }
  }

 private:
  template <std::unsigned_integral U>
  static void encode(U x, unsigned char* to) noexcept {
    for (std::size_t i = 0; i < sizeof(U); ++i) to[i] = static_cast<unsigned char>((x >> (8 * i)) & 0xffu);
  }
  void write(const unsigned char* bytes, std::size_t count) {
    sum_.add(std::as_bytes(std::span(bytes, count)));
    if (!out_.write(reinterpret_cast<const char*>(bytes), static_cast<std::streamsize>(count)))
      throw error(errc::file_access, "the stream refused the bytes of a saved sequence; is the disk full?");
  }

  std::ostream& out_;
  fnv1a sum_;
};

/// Reads what a cache_stream_writer wrote. Throws errc::bad_stream if bytes are missing or checksums differ.
class cache_stream_reader {
 public:
  explicit cache_stream_reader(std::istream& in) : in_(in) {}

  template <std::unsigned_integral U>
  U number() {
    std::array<unsigned char, sizeof(U)> bytes;
    read(bytes.data(), bytes.size());
    return decode<U>(bytes.data());
  }
  /// Are the next bytes `s`? Stops after the first byte that differs.
  bool text(std::string_view s) {
    return std::all_of(s.begin(), s.end(),
                       [this](char c) { return number<unsigned char>() == static_cast<unsigned char>(c); });
  }
  void checksum() {
    const std::uint64_t expected = sum_.value();
    if (number<std::uint64_t>() != expected)
      throw error(errc::bad_stream, "the saved sequence is damaged: its checksum differs");
  }

  /// `count` elements of type E, each given to sink(i, element).
  template <CacheElement E, class Sink>
  void row(index_t count, Sink&& sink) {
    std::array<unsigned char, 1024> bytes;
    constexpr auto at_once = static_cast<index_t>(bytes.size() / sizeof(E));
    for (index_t i = 0; i < count; i += at_once) {
      const index_t n = std::min(at_once, count - i);
      read(bytes.data(), static_cast<std::size_t>(n) * sizeof(E));
      for (index_t j = 0; j < n; ++j)
        sink(i + j, std::bit_cast<E>(decode<element_bits<E>>(bytes.data() + j * static_cast<index_t>(sizeof(E)))));
    }
  }

 private:
  template <std::unsigned_integral U>
  static U decode(const unsigned char* from) noexcept {
    std::uint64_t x = 0;
    for (std::size_t i = 0; i < sizeof(U); ++i) x |= static_cast<std::uint64_t>(from[i]) << (8 * i);
    return static_cast<U>(x);
  }
  void read(unsigned char* bytes, std::size_t count) {
    if (!in_.read(reinterpret_cast<char*>(bytes), static_cast<std::streamsize>(count)))
      throw error(errc::bad_stream, "the saved sequence is cut short");
    sum_.add(std::as_bytes(std::span(bytes, count)));
  }

  std::istream& in_;
  fnv1a sum_;
};

inline void write_header(cache_stream_writer& out, const cache_stream_header& h, std::string_view tag) {
  out.text(cache_stream_header::magic);
  out.number(cache_stream_header::version);
  out.number(h.element);
  for (const index_t n : {h.shape.layers, h.shape.kv_heads, h.shape.widths().keys, h.shape.widths().values})
    out.number(static_cast<std::uint64_t>(n));
  out.number(h.plan_hash);
  for (const index_t n : {h.length, h.next_position}) out.number(static_cast<std::uint64_t>(n));
  out.number(static_cast<std::uint32_t>(h.lists));
  out.number(std::uint64_t{tag.size()});
  out.text(tag);
  out.checksum();
}

/// Reads a header and compares it with `own`, the header of the restoring cache. Returns it with the stream's length
/// and position. Throws errc::bad_stream with a text that says what differs.
inline cache_stream_header read_header(cache_stream_reader& in, cache_stream_header own, std::string_view tag) {
  const auto agree = [](bool same, const char* what) {
    if (!same) throw error(errc::bad_stream, std::string("the saved sequence is of another ") + what);
  };
  if (!in.text(cache_stream_header::magic))
    throw error(errc::bad_stream, "these bytes are not a saved sequence: they do not begin with KVSHARER");
  agree(in.number<std::uint32_t>() == cache_stream_header::version, "version of the format");
  agree(in.number<std::uint32_t>() == own.element, "element type");
  for (const index_t n : {own.shape.layers, own.shape.kv_heads, own.shape.widths().keys, own.shape.widths().values})
    agree(in.number<std::uint64_t>() == static_cast<std::uint64_t>(n), "shape (layers, KV heads or head_dim)");
  agree(in.number<std::uint64_t>() == own.plan_hash, "plan of sharing");
  own.length = static_cast<index_t>(in.number<std::uint64_t>());
  own.next_position = static_cast<index_t>(in.number<std::uint64_t>());
  own.lists = static_cast<index_t>(in.number<std::uint32_t>());
  agree(in.number<std::uint64_t>() == tag.size() && in.text(tag), "model (the tag differs)");
  in.checksum();
  if (own.length < 0 || own.next_position < own.length || own.next_position > last_position || own.lists < 1)
    throw error(errc::bad_stream, "the saved sequence names impossible lengths");
  return own;
}

}  // namespace detail
}  // namespace kvsharer::inline v0
