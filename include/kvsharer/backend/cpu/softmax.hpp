// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <limits>

#include "kvsharer/backend/cpu/attention_scratch.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu::detail {

/// Replaces scores[0, count) by exp(score - shift), the rest of the last cache line by zeros, and returns the sum. All
/// lines go through the same vector code, so that a number does not depend on its neighbours. `scores` begins at a
/// cache line.
inline float exponentials(float* scores, index_t count, float shift) {
  const index_t padded = whole_lines(count);
  std::fill(scores + count, scores + padded, shift);
  Eigen::Map<Eigen::ArrayXf, Eigen::Aligned64> all(scores, padded);
  all = (all - shift).exp();
  std::fill(scores + count, scores + padded, 0.0f);
  return all.sum();
}

inline float largest(const float* scores, index_t count) {
  return Eigen::Map<const Eigen::ArrayXf>(scores, count).maxCoeff();
}

}  // namespace kvsharer::inline v0::cpu::detail
