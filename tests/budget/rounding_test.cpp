// SPDX-License-Identifier: Apache-2.0
// Shares become integers with an exact sum, within limits.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "kvsharer/budget/largest_remainder.hpp"
#include "kvsharer/budget/within_limits.hpp"

using namespace kvsharer;
using budget::largest_remainder;
using budget::within_limits;
using tokens = std::vector<index_t>;
using shares = std::vector<double>;

TEST_CASE("the largest fractions are rounded up, and of equal ones the first") {
  CHECK(largest_remainder(shares{1.2, 2.7, 3.1}, 7) == tokens{1, 3, 3});
  CHECK(largest_remainder(shares{1.5, 2.5, 3.5, 0.5}, 8) == tokens{2, 3, 3, 0});
  CHECK(largest_remainder(shares{230.4, 128, 59.7333, 93.8667}, 512) == tokens{230, 128, 60, 94});
  CHECK(largest_remainder(shares{2, 3}, 5) == tokens{2, 3});
  CHECK(largest_remainder(shares{}, 0).empty());
  // 0.1 * 3 is not 0.3: an integer that rounding alone misses is reached, and fractions equal to 1e-9 are equal.
  CHECK(largest_remainder(shares{(0.1 + 0.2) * 10 - 1e-12, 1}, 4) == tokens{3, 1});
  CHECK(largest_remainder(shares{0.5, 0.5 + 1e-12}, 1) == tokens{1, 0});
}

TEST_CASE("shares that are no shares of the total are refused") {
  const auto code = [](const shares& s, index_t total) {
    try {
      largest_remainder(s, total);
    } catch (const error& e) {
      return e.code();
    }
    return errc{};
  };
  CHECK(code({1, 2}, 3) == errc{});
  CHECK(code({1, 2}, 2) == errc::bad_argument);
  CHECK(code({1, 2}, 6) == errc::bad_argument);
  CHECK(code({-1, 4}, 3) == errc::bad_argument);
  CHECK(code({1e300}, 3) == errc::bad_argument);
  CHECK(code({std::nan(""), 4}, 4) == errc::bad_argument);
  CHECK(code({std::numeric_limits<double>::infinity()}, 4) == errc::bad_argument);
}

TEST_CASE("what limits leave over goes to the others, in proportion to their weights") {
  // 230.4 is cut to 200; 30.4 go to the rest as 300 : 100 : 200.
  CHECK(within_limits(shares{230.4, 128, 59.73333333, 93.86666667}, shares{600, 300, 100, 200}, 1, 200, 512) ==
        tokens{200, 143, 65, 104});
  // Both limits at once: 90 to 50, 2 to 10; 32 are over, and go to the two in the middle.
  CHECK(within_limits(shares{90, 2, 24, 24}, shares{1, 1, 1, 3}, 10, 50, 140) == tokens{50, 10, 32, 48});
  // The gift takes the middle ones over the limit, too, and the last one has what is then left.
  CHECK(within_limits(shares{90, 2, 30, 18}, shares{1, 1, 3, 1}, 10, 45, 140) == tokens{45, 10, 45, 40});
  CHECK(within_limits(shares{5, 5}, shares{0, 0}, 0, 100, 10) == tokens{5, 5});
}

TEST_CASE("limits that leave no choice, and limits that stop all at once") {
  CHECK(within_limits(shares{9, 1}, shares{9, 1}, 1, 4, 10) == tokens{4, 4});
  CHECK(within_limits(shares{9, 1}, shares{9, 1}, 6, 20, 10) == tokens{5, 5});
  CHECK(within_limits(shares{9, 1, 1}, shares{1, 1, 1}, 4, 20, 11) == tokens{4, 4, 3});
  // Both outside: 50 + 10 are 10 short of 70, which the one with room gets.
  CHECK(within_limits(shares{70, 0}, shares{1, 1}, 10, 50, 70) == tokens{50, 20});
  CHECK(within_limits(shares{61, 0}, shares{1, 1}, 20, 50, 61) == tokens{41, 20});
}

TEST_CASE("whatever the shares, the sum is exact and the limits hold") {
  std::mt19937 draw(5);
  for (int i = 0; i < 2000; ++i) {
    const std::size_t n = 1 + draw() % 12;
    const auto least = static_cast<index_t>(draw() % 50), most = least + static_cast<index_t>(draw() % 200);
    const auto count = static_cast<index_t>(n);
    const index_t total =
        count * least + static_cast<index_t>(draw() % static_cast<unsigned>(count * (most - least) + 1));
    shares weights(n);
    for (double& w : weights) w = static_cast<double>(draw() % 1000) * static_cast<double>(draw() % 3);
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    shares real(n, static_cast<double>(total) / static_cast<double>(n));
    if (sum > 0)
      for (std::size_t k = 0; k < n; ++k) real[k] = static_cast<double>(total) * weights[k] / sum;
    const tokens got = within_limits(real, weights, least, most, total);
    CHECK(std::accumulate(got.begin(), got.end(), index_t{0}) == total);
    CHECK(*std::min_element(got.begin(), got.end()) >= least);
    CHECK(*std::max_element(got.begin(), got.end()) <= most);
  }
}
