// SPDX-License-Identifier: Apache-2.0
// The share policies on a small matrix with ties: distances (1,0) 2, (2,0) 5, (2,1) 2, (3,0) 2, (3,1) 7, (3,2) 5.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "kvsharer/kvsharer.hpp"

using namespace kvsharer;

namespace {

distance_matrix example() {
  distance_matrix d(4);
  d.set({{1}, {0}}, 2);
  d.set({{2}, {0}}, 5);
  d.set({{2}, {1}}, 2);
  d.set({{3}, {0}}, 2);
  d.set({{3}, {1}}, 7);
  d.set({{3}, {2}}, 5);
  return d;
}

using pairs = std::vector<layer_pair>;

}  // namespace

TEST_CASE("dissimilar first: distance descending, then reader, then owner ascending") {
  CHECK(policy::dissimilar_first{}.rank(example(), all_pairs(4)) ==
        pairs{{{3}, {1}}, {{2}, {0}}, {{3}, {2}}, {{1}, {0}}, {{2}, {1}}, {{3}, {0}}});
}

TEST_CASE("similar first: distance ascending, ties as above") {
  CHECK(policy::similar_first{}.rank(example(), all_pairs(4)) ==
        pairs{{{1}, {0}}, {{2}, {1}}, {{3}, {0}}, {{2}, {0}}, {{3}, {2}}, {{3}, {1}}});
}

TEST_CASE("suffix first: readers from the top, each with its most dissimilar owner first") {
  CHECK(policy::suffix_first{}.rank(example(), all_pairs(4)) ==
        pairs{{{3}, {1}}, {{3}, {2}}, {{3}, {0}}, {{2}, {0}}, {{2}, {1}}, {{1}, {0}}});
}

TEST_CASE("random order is a permutation that the seed fixes") {
  const distance_matrix d(24);
  const pairs a = policy::random_order{1}.rank(d, all_pairs(24)),
              again = policy::random_order{1}.rank(d, all_pairs(24)),
              b = policy::random_order{2}.rank(d, all_pairs(24));
  CHECK(a == again);
  CHECK(a != b);
  CHECK(a != all_pairs(24));
  CHECK(std::set<layer_pair>(a.begin(), a.end()).size() == 276);
  // The 10000th number of a default-seeded std::mt19937_64 is fixed by the standard; so is the whole order, on every
  // platform. The first swap exchanges the last pair with number draw() % 276.
  std::mt19937_64 draw(1);
  const pairs all = all_pairs(24);
  CHECK(a.back() == all[draw() % 276]);
}

TEST_CASE("an explicit map ranks its own steps and nothing else") {
  const policy::explicit_map p{share_map::from_owners(std::vector{0, 1, 0, 1}).value()};
  CHECK(p.rank(example(), all_pairs(4)) == pairs{{{2}, {0}}, {{3}, {1}}});
}
