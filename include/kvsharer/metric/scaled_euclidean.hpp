// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::metric {

/// The Euclidean distance of two rows over the root of the sum of their squared norms, |a - b| / sqrt(|a|^2 + |b|^2),
/// averaged over heads and positions. Ours, not the paper's. Orthogonal rows have distance 1 whatever their norms. (|a
/// - b| grows with the norms and |a - b| / sqrt(|a| |b|) with their ratio, so both would mostly rank norms.) Unlike the
/// cosine it depends on a difference in length: rows of the same direction, with r the ratio of their norms, have
/// distance |1 - r| / sqrt(1 + r^2). In [0, sqrt 2]; two zero rows have distance 0, a zero row has distance 1 from any
/// other.
struct scaled_euclidean {
  /// Sums of squares over the pairs seen so far.
  struct partial {
    float difference = 0;  ///< of differences
    float norms = 0;       ///< of the numbers of both lists
  };
  static constexpr fold_scope scope = fold_scope::row;

  KVSHARER_HD constexpr partial step(partial p, float a, float b) const noexcept {
    return {p.difference + (a - b) * (a - b), p.norms + (a * a + b * b)};
  }
  KVSHARER_HD constexpr partial merge(partial p, partial q) const noexcept {
    return {p.difference + q.difference, p.norms + q.norms};
  }
  KVSHARER_HD double finish(partial p, index_t) const noexcept {
    return is_zero(p.norms) ? 0.0 : std::sqrt(static_cast<double>(p.difference) / static_cast<double>(p.norms));
  }
};
static_assert(DistanceMetric<scaled_euclidean>);

}  // namespace kvsharer::inline v0::metric
