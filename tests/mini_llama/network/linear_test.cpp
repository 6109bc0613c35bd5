// SPDX-License-Identifier: Apache-2.0
#include "network/linear.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kvsharer/core/element.hpp"

using kvsharer::index_t;
using mini_llama::dtype;
using mini_llama::weight;

namespace {

/// A matrix of random numbers in a stored type, and the numbers that were stored.
struct stored_matrix {
  stored_matrix(dtype type, index_t out, index_t in, unsigned seed) : out_(out), in_(in), type_(type) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (index_t i = 0; i < out * in; ++i) push(normal(random));
  }

  weight view() const { return {type_, bytes_.data(), out_, in_}; }
  double at(index_t o, index_t i) const { return numbers_[static_cast<std::size_t>(o * in_ + i)]; }

 private:
  void push(float x) {
    if (type_ == dtype::f32) append(x, x);
    if (type_ == dtype::f16) append(kvsharer::float16(x), static_cast<float>(kvsharer::float16(x)));
    if (type_ == dtype::bf16) append(kvsharer::bfloat16(x), static_cast<float>(kvsharer::bfloat16(x)));
  }
  template <class E>
  void append(E stored, float number) {
    const std::size_t end = bytes_.size();
    bytes_.resize(end + sizeof stored);
    std::memcpy(bytes_.data() + end, &stored, sizeof stored);
    numbers_.push_back(static_cast<double>(number));
  }

  index_t out_, in_;
  dtype type_;
  std::vector<std::byte> bytes_;
  std::vector<double> numbers_;
};

std::vector<float> random_rows(index_t rows, index_t in, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(rows * in));
  for (float& v : x) v = normal(random);
  return x;
}

/// How far y may be from the exact sum: rounding of `in` products and sums in float, in any order.
double tolerance(index_t in, double magnitude) {
  return static_cast<double>(in + 1) * static_cast<double>(std::numeric_limits<float>::epsilon()) * magnitude + 1e-30;
}

void check_product(const stored_matrix& m, const std::vector<float>& x, index_t rows, const float* y,
                   const float* before) {
  const weight w = m.view();
  index_t wrong = 0;
  for (index_t r = 0; r < rows; ++r)
    for (index_t o = 0; o < w.out; ++o) {
      double sum = before ? static_cast<double>(before[r * w.out + o]) : 0, magnitude = std::abs(sum);
      for (index_t i = 0; i < w.in; ++i) {
        const double term = m.at(o, i) * static_cast<double>(x[static_cast<std::size_t>(r * w.in + i)]);
        sum += term;
        magnitude += std::abs(term);
      }
      wrong += !(std::abs(static_cast<double>(y[r * w.out + o]) - sum) <= tolerance(w.in, magnitude));
    }
  CHECK(wrong == 0);
}

constexpr dtype all_types[] = {dtype::f32, dtype::f16, dtype::bf16};

}  // namespace

TEST_CASE("products agree with sums in double, for every stored type, odd sizes, few rows and many") {
  mini_llama::linear_scratch scratch;
  for (const dtype type : all_types)
    for (const auto& size : {std::pair<index_t, index_t>{1, 1}, {3, 7}, {17, 16}, {33, 129}, {70, 256}})
      for (const index_t rows : {1, 2, 3, 4, 5, 31, 67, 400}) {
        const index_t out = size.first, in = size.second;
        CAPTURE(mini_llama::name(type));
        CAPTURE(out);
        CAPTURE(in);
        CAPTURE(rows);
        const stored_matrix m(type, out, in, 7);
        const std::vector<float> x = random_rows(rows, in, 8);
        std::vector<float> y(static_cast<std::size_t>(rows * out), std::numeric_limits<float>::quiet_NaN());
        linear(m.view(), x.data(), y.data(), rows, scratch);
        check_product(m, x, rows, y.data(), nullptr);
      }
}

TEST_CASE("a weight larger than one decoded block") {
  mini_llama::linear_scratch scratch;
  const stored_matrix m(dtype::bf16, 1037, 1031, 3);  // more than 2^20 numbers
  const std::vector<float> x = random_rows(6, 1031, 4);
  std::vector<float> y(6 * 1037);
  linear(m.view(), x.data(), y.data(), 6, scratch);
  check_product(m, x, 6, y.data(), nullptr);
}

TEST_CASE("a group writes each product to its place, and adds where asked") {
  mini_llama::linear_scratch scratch;
  for (const index_t rows : {1, 3, 40}) {
    const stored_matrix a(dtype::bf16, 37, 50, 1), b(dtype::f16, 11, 50, 2), c(dtype::f32, 300, 50, 3);
    const std::vector<float> x = random_rows(rows, 50, 4), before = random_rows(rows, 11, 5);
    std::vector<float> ya(static_cast<std::size_t>(rows * 37)), yb = before, yc(static_cast<std::size_t>(rows * 300));
    const mini_llama::projection group[] = {{a.view(), ya.data()}, {b.view(), yb.data(), true}, {c.view(), yc.data()}};
    linear(group, x.data(), rows, scratch);
    check_product(a, x, rows, ya.data(), nullptr);
    check_product(b, x, rows, yb.data(), before.data());
    check_product(c, x, rows, yc.data(), nullptr);
  }
}

TEST_CASE("in small batches a row's results do not depend on the rows beside it") {
  mini_llama::linear_scratch scratch;
  const stored_matrix m(dtype::bf16, 131, 77, 1);
  const std::vector<float> x = random_rows(mini_llama::streamed_rows, 77, 2);
  std::vector<float> together(static_cast<std::size_t>(mini_llama::streamed_rows * 131)), alone(131);
  linear(m.view(), x.data(), together.data(), mini_llama::streamed_rows, scratch);
  for (index_t r = 0; r < mini_llama::streamed_rows; ++r) {
    linear(m.view(), x.data() + r * 77, alone.data(), 1, scratch);
    CHECK(std::equal(alone.begin(), alone.end(), together.begin() + r * 131));
  }
}

TEST_CASE("every sixteen-bit pattern decodes as its element type does") {
  std::vector<std::uint16_t> patterns(65536);
  for (std::size_t i = 0; i < patterns.size(); ++i) patterns[i] = static_cast<std::uint16_t>(i);
  std::vector<float> decoded(patterns.size());
  const auto check = [&]<class E>(E, dtype type) {
    mini_llama::decode_row({type, reinterpret_cast<const std::byte*>(patterns.data()), 1, 65536}, 0, decoded.data());
    index_t wrong = 0;
    for (std::size_t i = 0; i < patterns.size(); ++i) {
      const float expected = static_cast<float>(std::bit_cast<E>(patterns[i]));
      const bool same = std::isnan(expected)
                            ? std::isnan(decoded[i])
                            : std::bit_cast<std::uint32_t>(expected) == std::bit_cast<std::uint32_t>(decoded[i]);
      wrong += !same;
    }
    CHECK(wrong == 0);
  };
  check(kvsharer::float16{}, dtype::f16);
  check(kvsharer::bfloat16{}, dtype::bf16);
}
