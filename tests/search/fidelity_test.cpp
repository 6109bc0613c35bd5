// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kvsharer/kvsharer.hpp"

using namespace kvsharer;

namespace {
// The specification's example 10.3: two samples of two tokens and two channels.
const std::vector<float> full{1, 2, 2, 0, 3, 0, 0, 4}, shared{1, 2, 0, 2, 3, 0, 0, -4};
}  // namespace

TEST_CASE("the score is the mean of the samples' cosines") {
  CHECK(cosine_similarity(std::span(full).first(4), std::span(shared).first(4)) == doctest::Approx(5.0 / 9));
  CHECK(cosine_similarity(std::span(full).last(4), std::span(shared).last(4)) == doctest::Approx(-0.28));
  CHECK(hidden_similarity(full, shared, 2) == doctest::Approx(0.137778).epsilon(1e-5));
}

TEST_CASE("or, as the paper writes, the cosine of the samples' means") {
  CHECK(hidden_similarity(full, shared, 2, similarity::cosine_of_mean) == doctest::Approx(0.387298).epsilon(1e-6));
}

TEST_CASE("a run scores 1 against itself, and scores stay in [-1, 1]") {
  CHECK(hidden_similarity(full, full, 2) == doctest::Approx(1));
  std::vector<float> opposite = full;
  for (float& x : opposite) x = -x;
  CHECK(hidden_similarity(full, opposite, 2) == doctest::Approx(-1));
}

TEST_CASE("values whose squares overflow float, zeros and NaN") {
  const std::vector<float> large{1e30f, 1e30f}, zero{0, 0}, nan{1, std::numeric_limits<float>::quiet_NaN()};
  CHECK(cosine_similarity(large, large) == doctest::Approx(1));
  CHECK(cosine_similarity(large, zero) == 0);
  CHECK(std::isnan(cosine_similarity(large, nan)));
}

TEST_CASE("sizes that do not fit are refused") {
  CHECK_THROWS_AS((void)hidden_similarity(full, std::span(shared).first(4), 2), error);
  CHECK_THROWS_AS((void)hidden_similarity(full, shared, 3), error);
  CHECK_THROWS_AS((void)hidden_similarity(full, shared, 0), error);
}
