// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <vector>

#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::policy {

/// The control of the paper's figure 6: the most similar pair is tried first. Pairs with equal distances are sorted by
/// reader, then by owner, ascending.
struct similar_first {
  std::vector<layer_pair> rank(const distance_matrix& distances, std::vector<layer_pair> pairs) const {
    std::stable_sort(pairs.begin(), pairs.end(),
                     [&](layer_pair a, layer_pair b) { return distances(a) < distances(b); });
    return pairs;
  }
};
static_assert(SharePolicy<similar_first>);

}  // namespace kvsharer::inline v0::policy
