// SPDX-License-Identifier: Apache-2.0
// The code of docs/how-to/add-a-share-policy.md.
#include <doctest/doctest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "kvsharer/kvsharer.hpp"

namespace {

// [policy]
/// Most dissimilar first, but a layer may only read one of the `reach` layers below it.
struct nearby_dissimilar_first {
  int reach = 4;

  std::vector<kvsharer::layer_pair> rank(const kvsharer::distance_matrix& distances,
                                         std::vector<kvsharer::layer_pair> pairs) const {
    std::erase_if(pairs, [&](kvsharer::layer_pair p) { return p.reader.value - p.owner.value > reach; });
    return kvsharer::policy::dissimilar_first{}.rank(distances, std::move(pairs));
  }
};
static_assert(kvsharer::require_share_policy<nearby_dissimilar_first>());
// [/policy]

}  // namespace

TEST_CASE("a policy of your own ranks pairs, and the search follows it") {
  kvsharer::distance_matrix distances(4);
  for (kvsharer::layer_pair p : kvsharer::all_pairs(4)) distances.set(p, 10 * p.reader.value - p.owner.value);
  // [test]
  const auto ranked = nearby_dissimilar_first{1}.rank(distances, kvsharer::all_pairs(4));
  CHECK(ranked == std::vector<kvsharer::layer_pair>{{{3}, {2}}, {{2}, {1}}, {{1}, {0}}});
  // [/test]

  // [use]
  const auto probe = [](const kvsharer::share_map&) { return 0.9; };
  const auto found = kvsharer::find_share_map(distances, nearby_dissimilar_first{1}, probe, {.share = 2});
  // [/use]
  CHECK(found.map() == kvsharer::share_map::from_owners(std::vector{0, 1, 1, 1}).value());
}
