// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <chrono>
#include <limits>

#include "kvsharer/core/types.hpp"

namespace peak_rates {

/// Operations per second (a multiply-add is two) of Eigen's product of two large square matrices of floats, on all
/// threads. The best of a few tries; the first warms up.
inline double product_operations_per_second() {
  constexpr kvsharer::index_t n = 2048;
  const Eigen::MatrixXf a = Eigen::MatrixXf::Constant(n, n, 0.5f), b = Eigen::MatrixXf::Constant(n, n, 0.25f);
  Eigen::MatrixXf c(n, n);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 8; ++i) {
    const auto start = std::chrono::steady_clock::now();
    c.noalias() = a * b;
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return 2.0 * n * n * n / best;
}

}  // namespace peak_rates
