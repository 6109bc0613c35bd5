// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/token_sets.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace kvsharer;

namespace {

share_plan plan(std::vector<int> keys, std::vector<int> values) {
  return {share_map::from_owners(keys).value(), share_map::from_owners(values).value()};
}
std::vector<int> sets(const share_plan& p) {
  const token_sets all(p);
  std::vector<int> of;
  for (int l = 0; l < p.layers(); ++l) of.push_back(all.of({l}));
  for (const int set : of) CHECK(set < all.count());
  return of;
}

}  // namespace

TEST_CASE("with one map every owner is a set of its own, and readers are in it") {
  CHECK(sets(share_map::identity(3)) == std::vector<int>{0, 1, 2});
  CHECK(sets(share_map::from_owners(std::vector<int>{0, 1, 0, 1, 4}).value()) == std::vector<int>{0, 1, 0, 1, 2});
}

TEST_CASE("layers that cross over the maps connect sets") {
  // Layer 2 reads the keys of 0 with the values of 1: whoever drops a token of one must drop it of both.
  CHECK(sets(plan({0, 1, 0, 3}, {0, 1, 1, 3})) == std::vector<int>{0, 0, 0, 1});
  // Keys alone are shared: layer 1's own values go with the keys of layer 0.
  CHECK(sets(plan({0, 0, 2}, {0, 1, 2})) == std::vector<int>{0, 0, 1});
  // A chain: 0-1 by layer 2, 1-3 by layer 4.
  CHECK(sets(plan({0, 1, 0, 3, 1, 5}, {0, 1, 1, 3, 3, 5})) == std::vector<int>{0, 0, 0, 0, 0, 1});
}
