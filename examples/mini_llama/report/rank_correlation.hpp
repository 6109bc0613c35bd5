// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kvsharer/core/finite.hpp"
#include "kvsharer/search/rank_correlation.hpp"

namespace mini_llama::report {

/// Spearman's rho, see kvsharer::spearman_rho, over the pairs of which both are finite.
inline double rank_correlation(std::span<const double> x, std::span<const double> y) {
  std::vector<double> a, b;
  for (std::size_t i = 0; i < x.size(); ++i)
    if (kvsharer::is_finite(x[i]) && kvsharer::is_finite(y[i])) {
      a.push_back(x[i]);
      b.push_back(y[i]);
    }
  return kvsharer::spearman_rho(a, b);
}

}  // namespace mini_llama::report
