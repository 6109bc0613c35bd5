// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace kvsharer::inline v0 {

/// FNV-1a of 64 bits, over bytes that come one after another: h = (h ^ byte) * prime from a fixed beginning. Stable
/// across platforms and versions, so that its values may stand in files and in keys that leave the process. One changed
/// byte always changes it; it is no defence against those who look for two texts of one value. O(1) for a byte, no
/// memory. Source: G. Fowler, L. C. Noll, K.-P. Vo, D. Eastlake, "The FNV Non-Cryptographic Hash Algorithm"
/// (draft-eastlake-fnv).
class fnv1a {
 public:
  static constexpr std::uint64_t basis = 0xcbf29ce484222325u;  ///< the value of no bytes
  static constexpr std::uint64_t prime = 0x100000001b3u;       ///< what each round multiplies by

  /// Of no bytes yet.
  constexpr fnv1a() noexcept = default;
  /// Goes on from `before`, the value of the bytes so far (or a seed).
  constexpr explicit fnv1a(std::uint64_t before) noexcept : value_(before) {}

  /// The bytes after those so far.
  constexpr fnv1a& add(std::span<const std::byte> bytes) noexcept {
    for (const std::byte b : bytes) round(std::to_integer<std::uint8_t>(b));
    return *this;
  }
  /// The characters of a text, without its length.
  constexpr fnv1a& add(std::string_view text) noexcept {
    for (const char c : text) round(static_cast<std::uint8_t>(c));
    return *this;
  }
  /// The bytes of a number in two's complement, lowest first on every machine.
  template <std::integral T>
  constexpr fnv1a& add(T number) noexcept {
    const auto bits = static_cast<std::uint64_t>(number);  // a sign fills the bytes that are not taken
    for (std::size_t i = 0; i < sizeof(T); ++i) round(static_cast<std::uint8_t>((bits >> (8 * i)) & 0xffu));
    return *this;
  }

  /// The hash of all bytes added.
  constexpr std::uint64_t value() const noexcept { return value_; }

 private:
  constexpr void round(std::uint8_t byte) noexcept { value_ = (value_ ^ byte) * prime; }

  std::uint64_t value_ = basis;
};

}  // namespace kvsharer::inline v0
