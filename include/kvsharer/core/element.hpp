// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>

#include "kvsharer/config.hpp"

/// Sixteen-bit storage types. They only hold bits; all arithmetic is in float.
namespace kvsharer::inline v0 {
namespace detail {

/// std::bit_cast, which a device may not call.
template <class To, class From>
KVSHARER_HD constexpr To same_bits(From x) noexcept {
  return __builtin_bit_cast(To, x);
}

}  // namespace detail

/// bfloat16: the upper half of a float. Rounds to nearest, ties to even; NaN stays NaN.
struct bfloat16 {
  std::uint16_t bits = 0;  ///< as they lie in memory

  bfloat16() = default;
  /// The nearest number of this type.
  KVSHARER_HD explicit bfloat16(float x) noexcept {
    const auto u = detail::same_bits<std::uint32_t>(x);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<std::uint16_t>(nan ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  /// Exact.
  KVSHARER_HD operator float() const noexcept {
    return detail::same_bits<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

/// IEEE binary16. Rounds to nearest, ties to even; overflows to infinity; subnormals and NaN are kept.
struct float16 {
  std::uint16_t bits = 0;  ///< as they lie in memory

  float16() = default;
  /// The nearest number of this type.
  KVSHARER_HD explicit float16(float x) noexcept {
    const auto u = detail::same_bits<std::uint32_t>(x);
    const std::uint32_t sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
    // All cases are computed and one is selected, so that loops vectorise. Below the smallest normal half, adding 0.5
    // lets the float unit align and round the mantissa to multiples of 2^-24.
    const std::uint32_t subnormal =
        detail::same_bits<std::uint32_t>(detail::same_bits<float>(magnitude) + 0.5f) - 0x3f000000u;
    const std::uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    const std::uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
    const std::uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
    const std::uint32_t half = magnitude >= 0x47800000u ? special : finite;  // 2^16 and more is infinity
    bits = static_cast<std::uint16_t>(sign | half);
  }
  /// Exact.
  KVSHARER_HD operator float() const noexcept {
    const std::uint32_t sign = (bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
    std::uint32_t u;
    if (magnitude >= 0x7c00u) {
      u = 0x7f800000u | (magnitude << 13);
    } else if (magnitude >= 0x0400u) {
      u = (magnitude << 13) + 0x38000000u;
    } else {
      u = detail::same_bits<std::uint32_t>(static_cast<float>(magnitude) * 0x1p-24f);
    }
    return detail::same_bits<float>(sign | u);
  }
};

/// A type that a cache can store: it converts to float without loss, and back with rounding.
template <class E>
concept CacheElement = std::same_as<E, float> || std::same_as<E, float16> || std::same_as<E, bfloat16>;

}  // namespace kvsharer::inline v0
