// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kvsharer/config.hpp"
#include "kvsharer/core/element.hpp"

/// Eight-bit floating point as engines store it with a scale. The library only reads it: a number is its value times
/// the scale (see scaled_view). The formats are those of the OCP 8-bit Floating Point Specification, revision 1.0.
namespace kvsharer::inline v0 {

/// One sign, four exponent and three fraction bits, bias 7. No infinities; all ones is NaN; the largest number is 448.
struct float8_e4m3 {
  std::uint8_t bits = 0;  ///< as they lie in memory

  /// Exact.
  KVSHARER_HD operator float() const noexcept {
    const std::uint32_t sign = (bits & 0x80u) << 24, magnitude = bits & 0x7fu;
    std::uint32_t u;
    if (magnitude == 0x7fu)
      u = 0x7fc00000u;
    else if (magnitude >= 0x08u)
      u = (magnitude << 20) + 0x3c000000u;  // the bias grows by 120
    else
      u = detail::same_bits<std::uint32_t>(static_cast<float>(magnitude) * 0x1p-9f);
    return detail::same_bits<float>(sign | u);
  }
};

/// One sign, five exponent and two fraction bits, bias 15: the upper half of a float16, infinities and NaN included.
struct float8_e5m2 {
  std::uint8_t bits = 0;  ///< as they lie in memory

  /// Exact.
  KVSHARER_HD operator float() const noexcept {
    float16 half;
    half.bits = static_cast<std::uint16_t>(bits << 8);
    return static_cast<float>(half);
  }
};

}  // namespace kvsharer::inline v0
