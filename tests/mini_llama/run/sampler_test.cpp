// SPDX-License-Identifier: Apache-2.0
#include "run/sampler.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "thrown.hpp"

using mini_llama::sampler;

namespace {

constexpr int draws = 20000;

/// How often each id was drawn, as a share of all draws.
std::vector<double> shares(sampler pick, const std::vector<float>& logits) {
  std::vector<double> share(logits.size());
  for (int i = 0; i < draws; ++i) share[static_cast<std::size_t>(pick(logits))] += 1.0 / draws;
  return share;
}

/// Five standard deviations of a share of `draws` draws.
double five_sigma(double p) { return 5 * std::sqrt(p * (1 - p) / draws) + 1e-12; }

}  // namespace

TEST_CASE("greedy picks the largest, of equal ones the lowest id") {
  sampler pick(0, 1, 0);
  CHECK(pick(std::vector<float>{1, 3, 2}) == 1);
  CHECK(pick(std::vector<float>{-5}) == 0);
  CHECK(pick(std::vector<float>{1, 7, 7, 7}) == 1);
  CHECK(pick(std::vector<float>{-std::numeric_limits<float>::infinity(), -2}) == 1);
}

TEST_CASE("temperature draws from the softmax") {
  // Weights 1 : 2 : 5 at temperature 1, 1 : 4 : 25 at one half.
  const std::vector<float> logits = {0, std::log(2.0f), std::log(5.0f)};
  const std::vector<double> one = shares(sampler(1, 1, 1), logits), half = shares(sampler(0.5f, 1, 2), logits);
  for (std::size_t i = 0; i < 3; ++i) {
    const double p = std::vector<double>{1, 2, 5}[i] / 8, q = std::vector<double>{1, 4, 25}[i] / 30;
    CHECK(std::abs(one[i] - p) < five_sigma(p));
    CHECK(std::abs(half[i] - q) < five_sigma(q));
  }
}

TEST_CASE("top-p keeps the shortest list that reaches it") {
  // Probabilities 0.1, 0.4, 0.3, 0.2.
  const std::vector<float> logits = {std::log(1.0f), std::log(4.0f), std::log(3.0f), std::log(2.0f)};
  const std::vector<double> two = shares(sampler(1, 0.69f, 3), logits);
  CHECK(two[0] == 0);
  CHECK(two[3] == 0);
  CHECK(std::abs(two[1] - 4.0 / 7) < five_sigma(4.0 / 7));
  CHECK(std::abs(two[2] - 3.0 / 7) < five_sigma(3.0 / 7));
  const std::vector<double> three = shares(sampler(1, 0.71f, 4), logits);
  CHECK(three[0] == 0);
  CHECK(std::abs(three[3] - 2.0 / 9) < five_sigma(2.0 / 9));
  const std::vector<double> one = shares(sampler(1, 0.01f, 5), logits);
  CHECK(one[1] == doctest::Approx(1));
}

TEST_CASE("of equal probabilities top-p keeps the lowest ids") {
  const std::vector<double> share = shares(sampler(1, 0.5f, 6), {0, 0, 0, 0});
  CHECK(share[0] + share[1] == doctest::Approx(1));
  CHECK(share[0] > 0);
  CHECK(share[1] > 0);
}

TEST_CASE("the same seed picks the same tokens, another seed others") {
  const std::vector<float> logits(50, 0.0f);
  sampler a(0.8f, 0.9f, 11), b(0.8f, 0.9f, 11), c(0.8f, 0.9f, 12);
  int differing = 0;
  for (int i = 0; i < 100; ++i) {
    const int token = a(logits);
    CHECK(token == b(logits));
    differing += token != c(logits);
  }
  CHECK(differing > 50);
}

TEST_CASE("tokens that cannot happen are never picked") {
  const float never = -std::numeric_limits<float>::infinity();
  const std::vector<double> share = shares(sampler(1, 1, 7), {never, 0, never, 0, never});
  CHECK(share[1] + share[3] == doctest::Approx(1));
}

TEST_CASE("what means nothing is refused") {
  using kvsharer::errc;
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  CHECK(thrown([&] { sampler(-1, 1, 0); }) == errc::bad_argument);
  CHECK(thrown([&] { sampler(nan, 1, 0); }) == errc::bad_argument);
  CHECK(thrown([&] { sampler(infinity, 1, 0); }) == errc::bad_argument);
  CHECK(thrown([&] { sampler(1, 0, 0); }) == errc::bad_argument);
  CHECK(thrown([&] { sampler(1, 1.01f, 0); }) == errc::bad_argument);
  CHECK(thrown([&] { sampler(1, nan, 0); }) == errc::bad_argument);
  for (const float temperature : {0.0f, 1.0f}) {
    sampler pick(temperature, 1, 0);
    CHECK(thrown([&] { pick({}); }) == errc::bad_argument);
    CHECK(thrown([&] { pick(std::vector<float>{0, nan, 1}); }) == errc::not_finite);
    CHECK(thrown([&] { pick(std::vector<float>{nan, 0}); }) == errc::not_finite);
    CHECK(thrown([&] { pick(std::vector<float>{0, infinity}); }) == errc::not_finite);
  }
}
