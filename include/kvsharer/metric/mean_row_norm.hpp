// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::metric {

/// KVSharer's distance in the code of its authors, and the default: the L2 norm over head_dim of the difference of two
/// rows, averaged over heads and positions.
struct mean_row_norm {
  using partial = float;  ///< sum of squared differences
  static constexpr fold_scope scope = fold_scope::row;

  KVSHARER_HD constexpr partial step(partial sum, float a, float b) const noexcept { return sum + (a - b) * (a - b); }
  KVSHARER_HD constexpr partial merge(partial p, partial q) const noexcept { return p + q; }
  KVSHARER_HD double finish(partial sum, index_t) const noexcept { return std::sqrt(static_cast<double>(sum)); }
};
static_assert(DistanceMetric<mean_row_norm>);

}  // namespace kvsharer::inline v0::metric
