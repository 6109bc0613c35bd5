// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"

namespace kvsharer::inline v0 {

/// The rank of each number among all, from 1 for the smallest; equal numbers share the mean of their ranks.
/// Precondition: none is NaN. O(n log n).
inline std::vector<double> average_ranks(std::span<const double> numbers) {
  std::vector<std::size_t> order(numbers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return numbers[a] < numbers[b]; });
  std::vector<double> ranks(numbers.size());
  for (std::size_t first = 0, last; first < order.size(); first = last) {
    for (last = first + 1; last < order.size() && numbers[order[last]] == numbers[order[first]];) ++last;
    const double mean = static_cast<double>(first + 1 + last) / 2;
    for (std::size_t i = first; i < last; ++i) ranks[order[i]] = mean;
  }
  return ranks;
}

/// Spearman's rho of two equally long lists: Pearson's correlation of their average ranks, in [-1, 1]. Measures how
/// well one ordering (for example, distances of pairs) predicts another (scores of those pairs). NaN for fewer than two
/// numbers, or if all numbers of a list are equal.
///
/// Throws errc::bad_shape when the lists' lengths differ and errc::not_finite for a NaN, which has no rank; leave such
/// entries out. Infinities are ranked. O(n log n).
inline double spearman_rho(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size())
    throw error(errc::bad_shape, "ranks of " + std::to_string(a.size()) + " and of " + std::to_string(b.size()) +
                                     " numbers cannot be compared");
  const auto nan = [](double x) { return is_nan(x); };
  if (std::any_of(a.begin(), a.end(), nan) || std::any_of(b.begin(), b.end(), nan))
    throw error(errc::not_finite, "NaN has no rank; leave such entries out of both lists");
  const std::vector<double> x = average_ranks(a), y = average_ranks(b);
  const double mean = (static_cast<double>(x.size()) + 1) / 2;  // ties share ranks, so it stays
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mean) * (y[i] - mean);
    xx += (x[i] - mean) * (x[i] - mean);
    yy += (y[i] - mean) * (y[i] - mean);
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace kvsharer::inline v0
