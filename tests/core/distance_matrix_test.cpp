// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/distance_matrix.hpp"

#include <doctest/doctest.h>

using namespace kvsharer;

TEST_CASE("distances are symmetric, zero on the diagonal, and do not overlap in storage") {
  distance_matrix d(5);
  for (layer_pair p : all_pairs(5)) d.set(p, 10.0 * p.reader.value + p.owner.value);
  for (int a = 0; a < 5; ++a)
    for (int b = 0; b < 5; ++b) {
      const double expected = a == b ? 0.0 : a > b ? 10.0 * a + b : 10.0 * b + a;
      CHECK(d({a}, {b}) == expected);
    }
}

TEST_CASE("all pairs are listed by reader, then by owner") {
  const std::vector<layer_pair> expected{{{1}, {0}}, {{2}, {0}}, {{2}, {1}}};
  CHECK(all_pairs(3) == expected);
  CHECK(all_pairs(24).size() == 276);
  CHECK(all_pairs(1).empty());
  CHECK(all_pairs(0).empty());
}

TEST_CASE("sizes at the edge") {
  CHECK(distance_matrix(0).layers() == 0);
  CHECK(distance_matrix(1)({0}, {0}) == 0.0);
  CHECK_THROWS_AS(distance_matrix(-1), error);
}

TEST_CASE("there is nothing to measure without heads, channels and tokens") {
  CHECK_NOTHROW(check_measurable({.layers = 0, .kv_heads = 1, .head_dim = 1}, 1));
  CHECK_NOTHROW(check_measurable({.layers = 2, .kv_heads = 1, .head_dim = 1}, 2, "this", 2));
  for (const cache_shape s : {cache_shape{-1, 1, 1, 1}, cache_shape{2, 0, 1, 1}, cache_shape{2, 1, 0, 1}})
    CHECK_THROWS_AS(check_measurable(s, 1), error);
  CHECK_THROWS_WITH_AS(check_measurable({2, 3, 4, 9}, 1, "this", 2),
                       "kvsharer E302: this needs at least one head, one channel and 2 token(s); got 3, 4 and 1",
                       error);
}

TEST_CASE("layers whose values are wider or narrower than keys are not measured") {
  CHECK_NOTHROW(check_measurable({2, 1, 4, 8}, 3));
  CHECK_NOTHROW(check_measurable({2, 1, 4, 8, 4}, 3));
  CHECK_THROWS_WITH_AS(check_measurable({2, 1, 4, 8, 6}, 3), doctest::Contains("4 and 6 channels"), error);
}
