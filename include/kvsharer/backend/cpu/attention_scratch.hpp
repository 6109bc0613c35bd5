// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "kvsharer/backend/cpu/aligned_vector.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu {

/// Memory that `attend` keeps between calls. It grows to the size of the largest call. Calls that run at the same time
/// need one each.
struct attention_scratch {
  detail::aligned_vector<float> numbers;  ///< kept from call to call; it only grows

  /// Returns room for `n` uninitialised floats. Pointers from earlier calls become invalid.
  float* at_least(index_t n) {
    if (numbers.size() < static_cast<std::size_t>(n)) numbers.resize(static_cast<std::size_t>(n));
    return numbers.data();
  }
  /// Bytes allocated now.
  std::size_t bytes() const noexcept { return numbers.capacity() * sizeof(float); }
};

namespace detail {

/// Numbers in a cache line, and in the widest register: rows of scratch begin at multiples of it.
inline constexpr index_t line_floats = 16;
constexpr index_t whole_lines(index_t n) noexcept { return (n + line_floats - 1) / line_floats * line_floats; }

}  // namespace detail
}  // namespace kvsharer::inline v0::cpu
