// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <vector>

#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::policy {

/// Readers from the top of the stack downwards, each with its most dissimilar owner first. If the readers form a
/// suffix, a prefill that needs only the last position's logits runs the layers above the last owner for that position
/// alone. Ours, not the paper's.
struct suffix_first {
  std::vector<layer_pair> rank(const distance_matrix& distances, std::vector<layer_pair> pairs) const {
    std::stable_sort(pairs.begin(), pairs.end(), [&](layer_pair a, layer_pair b) {
      return a.reader != b.reader ? a.reader > b.reader : distances(a) > distances(b);
    });
    return pairs;
  }
};
static_assert(SharePolicy<suffix_first>);

}  // namespace kvsharer::inline v0::policy
