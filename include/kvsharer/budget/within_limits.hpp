// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

#include "kvsharer/budget/largest_remainder.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::budget {

/// Makes shares of `total` tokens integers within [least, most], with the exact sum. Shares outside the limits are set
/// to them, all that are outside at once, and what this leaves over or takes away is spread over the shares that were
/// never set, in proportion to `weights`; again, until none is outside. If all are set and something is left, it goes
/// to those that have room. Then largest_remainder. Where the limits leave no choice, all get `most`, or equally many.
///
/// Sizes of `shares` and `weights` agree, weights are >= 0, and least <= most. Throws what largest_remainder does.
/// O(n²) at worst.
inline std::vector<index_t> within_limits(std::span<const double> shares, std::span<const double> weights,
                                          index_t least, index_t most, index_t total) {
  const auto n = static_cast<index_t>(shares.size());
  if (total >= n * most) return std::vector<index_t>(shares.size(), most);
  if (total <= n * least) {
    const std::vector<double> equal(shares.size(), static_cast<double>(total) / static_cast<double>(n));
    return largest_remainder(equal, total);
  }
  std::vector<double> real(shares.begin(), shares.end());
  std::vector<char> set(shares.size(), 0);
  const auto low = static_cast<double>(least), high = static_cast<double>(most);
  for (;;) {
    bool outside = false;
    for (std::size_t i = 0; i < real.size(); ++i)
      if (!set[i] && (real[i] > high || real[i] < low)) {
        real[i] = real[i] > high ? high : low;
        set[i] = outside = true;
      }
    const double gap = static_cast<double>(total) - std::accumulate(real.begin(), real.end(), 0.0);
    if (!outside || std::abs(gap) < 1e-9) break;
    if (std::find(set.begin(), set.end(), 0) == set.end())
      for (std::size_t i = 0; i < real.size(); ++i) set[i] = gap > 0 ? real[i] >= high : real[i] <= low;
    double free = 0, weight = 0;
    for (std::size_t i = 0; i < real.size(); ++i)
      if (!set[i]) ++free, weight += weights[i];
    for (std::size_t i = 0; i < real.size(); ++i)
      if (!set[i]) real[i] += gap * (weight > 0 ? weights[i] / weight : 1 / free);
  }
  return largest_remainder(real, total);
}

}  // namespace kvsharer::inline v0::budget
