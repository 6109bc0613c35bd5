// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::policy {

/// Puts a given map through the same test as any other: its readers are tried in layer order, each with its owner in
/// the map. Pairs that the engine declared not shareable are left out.
struct explicit_map {
  share_map map;  ///< the map to test

  std::vector<layer_pair> rank(const distance_matrix&, std::vector<layer_pair> pairs) const {
    std::erase_if(pairs, [&](layer_pair p) {
      return p.reader.value >= map.layers() || map.owns(p.reader) || map.owner(p.reader) != p.owner;
    });
    return pairs;
  }
};
static_assert(SharePolicy<explicit_map>);

}  // namespace kvsharer::inline v0::policy
