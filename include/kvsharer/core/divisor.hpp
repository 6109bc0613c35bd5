// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// A divisor that is known before kernels are launched: dividing takes a multiplication and a shift, so a page may have
/// any number of tokens. With l = ceil(log2(d)) and m = ceil(2^(31 + l) / d), which has 32 bits, n * m / 2^(31 + l)
/// rounded down is n / d for all n below 2^31 (Granlund and Montgomery 1994, theorem 4.2).
class divisor {
 public:
  /// Divides by 1.
  constexpr divisor() noexcept = default;
  /// Precondition: 1 <= d < 2^31.
  constexpr explicit divisor(index_t d) noexcept : value_(static_cast<std::uint32_t>(d)) {
    while ((std::uint64_t{1} << shift_) < value_) ++shift_;
    factor_ = static_cast<std::uint32_t>(((std::uint64_t{1} << (31 + shift_)) + value_ - 1) / value_);
  }

  /// The divisor itself.
  KVSHARER_HD constexpr index_t value() const noexcept { return value_; }
  /// n / value(). Precondition: 0 <= n < 2^31.
  KVSHARER_HD constexpr index_t quotient(index_t n) const noexcept {
    const std::uint64_t product = std::uint64_t{2 * static_cast<std::uint32_t>(n)} * factor_;
    return static_cast<std::uint32_t>(product >> 32) >> shift_;
  }

 private:
  std::uint32_t value_ = 1;
  std::uint32_t factor_ = std::uint32_t{1} << 31;
  std::uint32_t shift_ = 0;
};

}  // namespace kvsharer::inline v0
