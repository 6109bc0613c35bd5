// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kvsharer/kvsharer.hpp"

using namespace kvsharer;

namespace {

using list = std::vector<double>;
constexpr double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();

TEST_CASE("ranks count from 1, and equal numbers share the mean of theirs") {
  CHECK(average_ranks(list{30, 10, 20}) == list{3, 1, 2});
  CHECK(average_ranks(list{2, 7, 2, 9, 7, 7}) == list{1.5, 4, 1.5, 6, 4, 4});
  CHECK(average_ranks(list{5, 5, 5}) == list{2, 2, 2});
  CHECK(average_ranks(list{inf, -inf, 0, inf}) == list{3.5, 1, 2, 3.5});
  CHECK(average_ranks(list{}).empty());
}

TEST_CASE("without ties it is 1 - 6 sum d^2 / (n (n^2 - 1))") {
  // Ranks 1 2 3 4 5 against 2 1 4 3 5: d^2 sum to 4, so 1 - 24/120.
  CHECK(spearman_rho(list{10, 20, 30, 40, 50}, list{-1, -2, 8, 3, 1000}) == doctest::Approx(0.8).epsilon(1e-12));
  // 106 86 100 101 99 103 97 113 112 110 against 7 0 27 50 28 29 20 12 6 17: d^2 sum to 194, so 1 - 1164/990.
  CHECK(spearman_rho(list{106, 86, 100, 101, 99, 103, 97, 113, 112, 110}, list{7, 0, 27, 50, 28, 29, 20, 12, 6, 17}) ==
        doctest::Approx(-29.0 / 165).epsilon(1e-12));
}

TEST_CASE("with ties it is the correlation of the average ranks") {
  // Ranks 1.5 1.5 3 4 against 1 2.5 2.5 4, from their mean 2.5: products 1.5 + 0 + 0 + 2.25, squares 4.5 and 4.5.
  CHECK(spearman_rho(list{1, 1, 2, 3}, list{4, 5, 5, 6}) == doctest::Approx(3.75 / 4.5).epsilon(1e-12));
}

TEST_CASE("only the order counts") {
  const list a{3, 1, 4, 1.5, 9, 2.6}, falling{-27, -1, -64, -3.375, -729, -17.576};
  CHECK(spearman_rho(a, a) == doctest::Approx(1).epsilon(1e-12));
  CHECK(spearman_rho(a, falling) == doctest::Approx(-1).epsilon(1e-12));
  CHECK(spearman_rho(a, list{3, 1, inf, 1.5, inf, 2.6}) > 0.9);
}

TEST_CASE("where nothing can be said it is NaN; what has no rank or no partner is refused") {
  CHECK(std::isnan(spearman_rho(list{}, list{})));
  CHECK(std::isnan(spearman_rho(list{1}, list{2})));
  CHECK(std::isnan(spearman_rho(list{1, 2, 3}, list{4, 4, 4})));
  CHECK_THROWS_WITH_AS((void)spearman_rho(list{1, 2}, list{1}), doctest::Contains("E302"), error);
  CHECK_THROWS_WITH_AS((void)spearman_rho(list{1, 2}, list{1, nan}), doctest::Contains("E406"), error);
  CHECK_THROWS_WITH_AS((void)spearman_rho(list{nan, 2}, list{1, 2}), doctest::Contains("E406"), error);
}

}  // namespace
