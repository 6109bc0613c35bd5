// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kvsharer/config.hpp"
#include "kvsharer/core/element.hpp"

/// Questions about numbers that are answered by their bits. A compiler that was told that all numbers are finite
/// (-ffast-math) takes std::isfinite for true and NaN for equal to anything, and what is refused must not depend on
/// that. By reference, since Clang promises the same of numbers that are passed by value.
namespace kvsharer::inline v0 {

/// Neither NaN nor infinite?
KVSHARER_HD constexpr bool is_finite(const float& x) noexcept {
  return (detail::same_bits<std::uint32_t>(x) & 0x7f800000u) != 0x7f800000u;
}
/// The same.
KVSHARER_HD constexpr bool is_finite(const double& x) noexcept {
  return (detail::same_bits<std::uint64_t>(x) & 0x7ff0000000000000u) != 0x7ff0000000000000u;
}

/// NaN?
KVSHARER_HD constexpr bool is_nan(const float& x) noexcept {
  return (detail::same_bits<std::uint32_t>(x) & 0x7fffffffu) > 0x7f800000u;
}
/// The same.
KVSHARER_HD constexpr bool is_nan(const double& x) noexcept {
  return (detail::same_bits<std::uint64_t>(x) & 0x7fffffffffffffffu) > 0x7ff0000000000000u;
}

/// Zero, of either sign?
KVSHARER_HD constexpr bool is_zero(const float& x) noexcept { return detail::same_bits<std::uint32_t>(x) << 1 == 0; }
/// The same.
KVSHARER_HD constexpr bool is_zero(const double& x) noexcept { return detail::same_bits<std::uint64_t>(x) << 1 == 0; }

}  // namespace kvsharer::inline v0
