// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::metric {

/// The distance in the text of the KVSharer paper (section 3): the Euclidean distance of two layers' keys (or values),
/// each flattened to one vector. Its ranking may differ from that of `mean_row_norm`, and so may the map.
struct flat_euclidean {
  using partial = float;  ///< sum of squared differences
  static constexpr fold_scope scope = fold_scope::plane;

  KVSHARER_HD constexpr partial step(partial sum, float a, float b) const noexcept { return sum + (a - b) * (a - b); }
  KVSHARER_HD constexpr partial merge(partial p, partial q) const noexcept { return p + q; }
  KVSHARER_HD double finish(partial sum, index_t) const noexcept { return std::sqrt(static_cast<double>(sum)); }
};
static_assert(DistanceMetric<flat_euclidean>);

}  // namespace kvsharer::inline v0::metric
