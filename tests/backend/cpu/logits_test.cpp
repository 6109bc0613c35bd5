// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/backend/cpu/logits.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <vector>

using namespace kvsharer;

namespace {

std::vector<float> random_row(std::size_t n, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<float> row(n);
  for (float& x : row) x = static_cast<float>(bits() % 20001) / 1000 - 10;
  return row;
}

/// Probabilities in float64.
std::vector<double> softmax(const std::vector<float>& row) {
  std::vector<double> p;
  double sum = 0;
  for (const float x : row) sum += std::exp(double{x});
  for (const float x : row) p.push_back(std::exp(double{x}) / sum);
  return p;
}

}  // namespace

TEST_CASE("rows by hand") {
  // Probabilities 1/6, 2/6 and 3/6, and 1/3 each; logits may be off by any number.
  const std::vector<float> p{std::log(1.0f) + 5, std::log(2.0f) + 5, std::log(3.0f) + 5}, q{-7, -7, -7};
  const double of_p = cpu::log_normaliser(p), of_q = cpu::log_normaliser(q);
  CHECK(of_p == doctest::Approx(std::log(6.0) + 5).epsilon(1e-6));
  CHECK(of_q == doctest::Approx(std::log(3.0) - 7).epsilon(1e-6));
  CHECK(cpu::cross_entropy(p, of_p, 0) == doctest::Approx(std::log(6.0)).epsilon(1e-6));
  CHECK(cpu::cross_entropy(p, of_p, 2) == doctest::Approx(std::log(2.0)).epsilon(1e-6));
  const double kl = std::log(0.5) / 6 + std::log(1.0) / 3 + std::log(1.5) / 2;
  CHECK(cpu::divergence(p, of_p, q, of_q) == doctest::Approx(kl).epsilon(1e-5));
  CHECK(cpu::most_likely(p) == 2);
  CHECK(cpu::most_likely(q) == 0);
}

TEST_CASE("long rows against float64, and a row against itself") {
  for (const std::size_t n : {1u, 2u, 15u, 16u, 17u, 1000u, 32001u}) {
    const std::vector<float> a = random_row(n, 1), b = random_row(n, 2);
    const std::vector<double> p = softmax(a), q = softmax(b);
    const double of_a = cpu::log_normaliser(a), of_b = cpu::log_normaliser(b);
    const auto target = static_cast<index_t>(n / 2);
    CHECK(cpu::cross_entropy(a, of_a, target) == doctest::Approx(-std::log(p[n / 2])).epsilon(1e-5));
    double kl = 0;
    for (std::size_t i = 0; i < n; ++i) kl += p[i] * std::log(p[i] / q[i]);
    CHECK(cpu::divergence(a, of_a, b, of_b) == doctest::Approx(kl).epsilon(1e-4));
    CHECK(cpu::divergence(a, of_a, a, of_a) == 0);
  }
}

TEST_CASE("logits beyond the range of exp, and those that are no numbers") {
  const std::vector<float> large{1000, 999, -1000};
  CHECK(cpu::log_normaliser(large) == doctest::Approx(1000 + std::log(1 + std::exp(-1.0))).epsilon(1e-7));
  CHECK(cpu::cross_entropy(large, cpu::log_normaliser(large), 2) == doctest::Approx(2000.3133).epsilon(1e-6));
  std::vector<float> broken = random_row(40, 3);
  broken[33] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> sound = random_row(40, 4);
  CHECK(std::isnan(cpu::divergence(sound, cpu::log_normaliser(sound), broken, cpu::log_normaliser(broken))));
}
