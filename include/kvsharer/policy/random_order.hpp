// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::policy {

/// The control of the paper's table 4: pairs in a random order. A seed gives the same order on every platform.
struct random_order {
  std::uint64_t seed = 0;  ///< the same seed gives the same order everywhere

  std::vector<layer_pair> rank(const distance_matrix&, std::vector<layer_pair> pairs) const {
    // std::shuffle draws differently from one standard library to the next; this loop does not.
    std::mt19937_64 draw(seed);
    for (std::size_t left = pairs.size(); left > 1; --left) std::swap(pairs[left - 1], pairs[draw() % left]);
    return pairs;
  }
};
static_assert(SharePolicy<random_order>);

}  // namespace kvsharer::inline v0::policy
