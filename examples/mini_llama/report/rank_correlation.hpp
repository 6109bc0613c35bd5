// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

namespace mini_llama::report {

/// Places of the numbers when sorted, from 1; equal ones share the mean of theirs.
inline std::vector<double> ranks_of(std::span<const double> values) {
  std::vector<double> ranks;
  for (const double v : values) {
    const auto below = std::count_if(values.begin(), values.end(), [v](double o) { return o < v; });
    const auto equal = std::count(values.begin(), values.end(), v);
    ranks.push_back(static_cast<double>(below) + (static_cast<double>(equal) + 1) / 2);
  }
  return ranks;
}

/// Spearman's: 1 where y always grows with x, -1 where it always falls. Pairs of which one is not finite are left out;
/// NaN where fewer than two are left, or all x or all y are equal. O(n^2).
inline double rank_correlation(std::span<const double> x, std::span<const double> y) {
  std::vector<double> a, b;
  for (std::size_t i = 0; i < x.size(); ++i)
    if (std::isfinite(x[i]) && std::isfinite(y[i])) {
      a.push_back(x[i]);
      b.push_back(y[i]);
    }
  a = ranks_of(a);
  b = ranks_of(b);
  const double mean = (static_cast<double>(a.size()) + 1) / 2;
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean) * (b[i] - mean);
    aa += (a[i] - mean) * (a[i] - mean);
    bb += (b[i] - mean) * (b[i] - mean);
  }
  return aa * bb > 0 ? ab / std::sqrt(aa * bb) : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace mini_llama::report
