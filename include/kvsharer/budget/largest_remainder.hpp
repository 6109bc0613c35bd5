// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::budget {

/// The largest integer that is not above x, where x may be short of an integer by rounding alone.
inline index_t floor_of(double x) noexcept { return static_cast<index_t>(std::floor(x + 1e-9)); }

/// Integers that add up to `total` exactly, each less than 1 away from its share: every share is rounded down, and what
/// is left goes, one by one, to the largest fractions; of equal ones (to 1e-9) to the first. Throws errc::bad_argument
/// if a share is negative or no number, or the shares add up to something else. O(n log n).
inline std::vector<index_t> largest_remainder(std::span<const double> shares, index_t total) {
  std::vector<index_t> rounded(shares.size());
  std::vector<std::size_t> order(shares.size());
  std::vector<long long> fractions(shares.size());  // in units of 1e-9
  index_t missing = total;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    if (!is_finite(shares[i]) || shares[i] < 0 || shares[i] > static_cast<double>(total) + 1)
      throw error(errc::bad_argument, "share " + std::to_string(i) + " of a budget is " + std::to_string(shares[i]) +
                                          "; shares are numbers of tokens, up to " + std::to_string(total));
    rounded[i] = floor_of(shares[i]);
    fractions[i] = std::llround((shares[i] - static_cast<double>(rounded[i])) * 1e9);
    missing -= rounded[i];
  }
  if (missing < 0 || missing > static_cast<index_t>(shares.size()))
    throw error(errc::bad_argument, "the shares of a budget of " + std::to_string(total) + " tokens add up to about " +
                                        std::to_string(total - missing) + "; give shares of that total");
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return fractions[a] > fractions[b]; });
  for (index_t i = 0; i < missing; ++i) ++rounded[order[static_cast<std::size_t>(i)]];
  return rounded;
}

}  // namespace kvsharer::inline v0::budget
