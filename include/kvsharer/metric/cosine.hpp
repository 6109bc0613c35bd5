// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::metric {

/// One minus the cosine of two rows, averaged over heads and positions. It does not depend on the norms, which dominate
/// Euclidean rankings. Ours, not the paper's. In [0, 2]; two zero rows have distance 0, a zero row has distance 1 from
/// any other.
struct cosine {
  /// Sums over the pairs seen so far.
  struct partial {
    float dot = 0;  ///< of products
    float a = 0;    ///< of squares of the first list
    float b = 0;    ///< of squares of the second
  };
  static constexpr fold_scope scope = fold_scope::row;

  KVSHARER_HD constexpr partial step(partial p, float a, float b) const noexcept {
    return {p.dot + a * b, p.a + a * a, p.b + b * b};
  }
  KVSHARER_HD constexpr partial merge(partial p, partial q) const noexcept {
    return {p.dot + q.dot, p.a + q.a, p.b + q.b};
  }
  KVSHARER_HD double finish(partial p, index_t) const noexcept {
    if (is_zero(p.a) && is_zero(p.b)) return 0.0;
    if (is_zero(p.a) || is_zero(p.b)) return 1.0 - static_cast<double>(p.dot);  // of zero, or of NaN and infinity, NaN
    return 1.0 - static_cast<double>(p.dot) / std::sqrt(static_cast<double>(p.a) * static_cast<double>(p.b));
  }
};
static_assert(DistanceMetric<cosine>);

}  // namespace kvsharer::inline v0::metric
