// SPDX-License-Identifier: Apache-2.0
// The metrics as folds, on lists small enough to work by hand.
#include <doctest/doctest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "kvsharer/kvsharer.hpp"

using namespace kvsharer;

namespace {

using pairs = std::vector<std::pair<float, float>>;

template <class M>
double fold(M m, const pairs& list, std::size_t split) {
  typename M::partial a{}, b{};
  for (std::size_t i = 0; i < list.size(); ++i)
    (i < split ? a : b) = m.step(i < split ? a : b, list[i].first, list[i].second);
  return m.finish(m.merge(a, b), static_cast<index_t>(list.size()));
}

}  // namespace

TEST_CASE("Euclidean metrics are the root of the sum of squares, however the list is split") {
  const pairs list{{1, 4}, {0, 4}, {2, 2}};  // differences -3, -4, 0
  for (std::size_t split = 0; split <= 3; ++split) {
    CHECK(fold(metric::mean_row_norm{}, list, split) == 5);
    CHECK(fold(metric::flat_euclidean{}, list, split) == 5);
  }
  CHECK(metric::mean_row_norm::scope == fold_scope::row);
  CHECK(metric::flat_euclidean::scope == fold_scope::plane);
}

TEST_CASE("cosine distance is 0 along, 1 across, 2 against, and blind to length") {
  CHECK(fold(metric::cosine{}, {{1, 2}, {1, 2}}, 1) == doctest::Approx(0));
  CHECK(fold(metric::cosine{}, {{1, 0}, {0, 7}}, 1) == doctest::Approx(1));
  CHECK(fold(metric::cosine{}, {{1, -3}, {2, -6}}, 2) == doctest::Approx(2));
  CHECK(fold(metric::cosine{}, {{3, 4}, {4, 3}}, 0) == doctest::Approx(1 - 24.0 / 25));
  CHECK(fold(metric::cosine{}, {{0, 0}, {0, 0}}, 1) == 0);
  CHECK(fold(metric::cosine{}, {{0, 1}, {0, 0}}, 1) == 1);
}

TEST_CASE("the scaled Euclidean distance is 0 between equals, 1 across whatever the lengths, root 2 against") {
  constexpr metric::scaled_euclidean m;
  for (std::size_t split = 0; split <= 2; ++split) {
    CHECK(fold(m, {{3, 3}, {4, 4}}, split) == 0);
    CHECK(fold(m, {{1, 0}, {0, 1}}, split) == 1);
    CHECK(fold(m, {{1, 0}, {0, 1000}}, split) == doctest::Approx(1));
    CHECK(fold(m, {{1, -1}, {3, -3}}, split) == doctest::Approx(std::sqrt(2.0)));
    CHECK(fold(m, {{1, 2}, {2, 4}}, split) == doctest::Approx(std::sqrt(5.0 / 25)));  // one direction, twice as long
    CHECK(fold(m, {{3, 4}, {4, 3}}, split) == doctest::Approx(std::sqrt(2.0 / 50)));
    CHECK(fold(m, {{0, 0}, {0, 0}}, split) == 0);
    CHECK(fold(m, {{0, 5}, {0, 0}}, split) == 1);
  }
  CHECK(std::isnan(fold(m, {{0, NAN}}, 0)));
  CHECK(metric::scaled_euclidean::scope == fold_scope::row);
}
