// SPDX-License-Identifier: Apache-2.0
// Products of one row against the same in double: plain, added, gated, with and without a norm before them.
#include "cuda/row_product.cuh"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/cuda/device.hpp"
#include "backend/cuda/driver_numbers.hpp"

namespace {

using namespace device_test;
namespace driver = mini_llama::cuda;
using driver::row_result;

constexpr float eps = 1e-2f;

/// The row that is multiplied: normed and rounded to E, or as it is.
template <class E>
std::vector<double> row_of(const std::vector<E>& in, const std::vector<float>& gain) {
  double squares = 0;
  for (const E x : in) squares += number(x) * number(x);
  const double scale = 1 / std::sqrt(squares / static_cast<double>(in.size()) + static_cast<double>(eps));
  std::vector<double> row;
  for (std::size_t i = 0; i < in.size(); ++i)
    row.push_back(gain.empty() ? number(in[i]) : number(E(static_cast<float>(number(in[i]) * scale * gain[i]))));
  return row;
}

template <class E, class Out, row_result Result>
void compare(index_t n, index_t k, bool normed, unsigned seed) {
  INFO(n, " by ", k, normed ? " normed" : "");
  device on;
  const index_t matrices = Result == row_result::gated ? 2 : 1;
  const auto in = random_numbers<E>(k, seed), weight = random_numbers<E>(matrices * n * k, seed + 1);
  const auto gain = normed ? random_numbers<float>(k, seed + 2) : std::vector<float>{};
  const auto before = random_numbers<Out>(n, seed + 3);
  const auto on_in = on_device(on.stream, in);
  const auto on_weight = on_device(on.stream, weight);
  const auto on_gain = on_device(on.stream, gain);
  auto out =
      Result == row_result::add ? on_device(on.stream, before) : poisoned<Out>(on.stream, static_cast<std::size_t>(n));
  driver::row_product<Result>(on.backend, on_in.data(), normed ? on_gain.data() : nullptr, eps, on_weight.data(),
                              out.data(), n, k);
  const auto got = on_host(out);

  const std::vector<double> row = row_of(in, gain);
  // A normed number that stands between two of E may be rounded to either, by an error in the last place of its scale.
  const double of_row = normed ? 2 * rounding<E> : 0;
  double worst = 0;
  for (index_t i = 0; i < n; ++i) {
    double sum[2] = {0, 0}, size[2] = {0, 0};
    for (index_t m = 0; m < matrices; ++m)
      for (index_t j = 0; j < k; ++j) {
        const double term =
            row[static_cast<std::size_t>(j)] * number(weight[static_cast<std::size_t>((m * n + i) * k + j)]);
        sum[m] += term;
        size[m] += std::abs(term);
      }
    // Sums of k terms in float over 32 lanes, and numbers of the row that were rounded the other way: a few of them.
    const double off = 0x1p-20 + of_row * 4 / std::sqrt(static_cast<double>(k));
    double expected = sum[0], allowed = size[0] * off;
    if (Result == row_result::add) expected += number(before[static_cast<std::size_t>(i)]);
    if (Result == row_result::gated) {
      const double silu = sum[0] / (1 + std::exp(-sum[0]));
      expected = silu * sum[1];
      allowed = size[0] * off * 1.1 * std::abs(sum[1]) + std::abs(silu) * size[1] * off + std::abs(expected) * 0x1p-20;
    }
    worst = std::max(worst, misfit(got[static_cast<std::size_t>(i)], expected, allowed));
  }
  CHECK(worst <= 1);
}

template <class E>
void compare_all(unsigned seed) {
  for (const index_t k : {index_t{8}, index_t{256}, index_t{1032}, index_t{2304}})
    for (const index_t n : {index_t{1}, index_t{7}, index_t{130}}) {
      compare<E, E, row_result::set>(n, k, false, seed);
      compare<E, E, row_result::set>(n, k, true, seed + 1);
      compare<E, float, row_result::set>(n, k, true, seed + 2);
      compare<E, E, row_result::add>(n, k, false, seed + 3);
      compare<E, E, row_result::gated>(n, k, true, seed + 4);
    }
}

TEST_CASE("the product of a row, float") { compare_all<float>(1); }
TEST_CASE("the product of a row, float16") { compare_all<float16>(100); }
TEST_CASE("the product of a row, bfloat16") { compare_all<bfloat16>(200); }

TEST_CASE("as many rows of a matrix as a model has, which every multiprocessor works on") {
  compare<bfloat16, bfloat16, row_result::set>(1100, 512, true, 7);
  compare<float16, float16, row_result::gated>(700, 512, true, 8);
}

TEST_CASE("a row that is no whole number of 16 bytes is refused, and no rows are no work") {
  device on;
  auto x = poisoned<float16>(on.stream, 64);
  CHECK(refusal([&] {
          driver::row_product<row_result::set>(on.backend, x.data(), nullptr, eps, x.data(), x.data(), 1, 12);
        }).find("multiple of 8") != std::string::npos);
  driver::row_product<row_result::set>(on.backend, x.data(), nullptr, eps, x.data(), x.data(), 0, 16);
  CHECK_NOTHROW(on.backend.check_status());
}

}  // namespace
