// SPDX-License-Identifier: Apache-2.0
// The acceptance score of hidden states in device memory, against sums in double.
#include "kvsharer/backend/cuda/similarity.cuh"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "backend/cuda/device.hpp"

namespace {

using namespace device_test;

double cosine_slowly(const std::vector<double>& a, const std::vector<double>& b) {
  double dot = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return aa * bb == 0 ? 0 : dot / std::sqrt(aa * bb);
}

struct scores {
  double mean_of_cosines, cosine_of_mean;
};

template <class E>
scores score_slowly(const std::vector<E>& full, const std::vector<E>& shared, std::size_t samples) {
  const std::size_t length = full.size() / samples;
  double cosines = 0;
  std::vector<double> mean_full(length), mean_shared(length);
  for (std::size_t s = 0; s < samples; ++s) {
    std::vector<double> a, b;
    for (std::size_t i = 0; i < length; ++i) {
      a.push_back(static_cast<float>(full[s * length + i]));
      b.push_back(static_cast<float>(shared[s * length + i]));
      mean_full[i] += a[i] / static_cast<double>(samples);
      mean_shared[i] += b[i] / static_cast<double>(samples);
    }
    cosines += cosine_slowly(a, b);
  }
  return {cosines / static_cast<double>(samples), cosine_slowly(mean_full, mean_shared)};
}

/// Numbers of which those of the second array follow the first's in part.
template <class E>
std::vector<E> random_numbers(std::size_t n, unsigned seed, const std::vector<E>* like = nullptr) {
  std::mt19937 bits(seed);
  std::vector<E> x(n);
  for (std::size_t i = 0; i < n; ++i)
    x[i] = E((like != nullptr ? static_cast<float>((*like)[i]) : 0.0f) +
             static_cast<float>(static_cast<int>(bits() % 4001) - 2000) / 1000.0f);
  return x;
}

template <class E>
scores measure(device& on, const std::vector<E>& full, const std::vector<E>& shared, index_t samples,
               std::size_t skip = 0) {
  const auto a = on_device(on.stream, full), b = on_device(on.stream, shared);
  const std::span<const E> of_full(a.data() + skip, a.size() - skip), of_shared(b.data() + skip, b.size() - skip);
  return {cuda::hidden_similarity(on.backend, of_full, of_shared, samples),
          cuda::hidden_similarity(on.backend, of_full, of_shared, samples, similarity::cosine_of_mean)};
}

/// `skip`: numbers in front, which are no part of the arrays and leave them unaligned.
template <class E>
void compare(index_t samples, index_t length, unsigned seed, std::size_t skip = 0) {
  CAPTURE(samples);
  CAPTURE(length);
  device on;
  const auto n = static_cast<std::size_t>(samples * length);
  auto full = random_numbers<E>(n, seed), shared = random_numbers<E>(n, seed + 1, &full);
  const scores expected = score_slowly(full, shared, static_cast<std::size_t>(samples));
  full.insert(full.begin(), skip, E(std::numeric_limits<float>::quiet_NaN()));
  shared.insert(shared.begin(), skip, E(std::numeric_limits<float>::quiet_NaN()));
  const scores got = measure(on, full, shared, samples, skip);
  CHECK(std::abs(got.mean_of_cosines - expected.mean_of_cosines) < 1e-12);
  CHECK(std::abs(got.cosine_of_mean - expected.cosine_of_mean) < 1e-6);  // means are rounded to float
}

TEST_CASE("both modes, every stored type, lengths around a block's reach") {
  compare<float>(1, 1, 1);
  compare<float>(3, 4 * 256 * 12, 2);
  compare<float>(5, 4 * 256 * 2 + 4, 3);
  compare<float16>(2, 8 * 256 - 8, 4);
  compare<float16>(30, 800, 5);
  compare<bfloat16>(7, 8 * 256 + 8, 6);
  compare<bfloat16>(1, 8 * 256 * 12 + 8, 7);
}
TEST_CASE("samples whose length is no multiple of 16 bytes, and arrays that begin anywhere") {
  compare<float>(3, 1027, 8);
  compare<float16>(5, 771, 9);
  compare<float>(3, 1024, 10, 1);
  compare<bfloat16>(3, 1024, 11, 3);
}
TEST_CASE("more samples than warps and than blocks") { compare<float>(77, 24, 12); }

TEST_CASE("the specification's example 10.3: two samples of two tokens and two channels") {
  device on;
  const std::vector<float> full{1, 2, 2, 0, 3, 0, 0, 4}, shared{1, 2, 0, 2, 3, 0, 0, -4};
  const scores got = measure(on, full, shared, 2);
  CHECK(got.mean_of_cosines == doctest::Approx(0.137778).epsilon(1e-5));
  CHECK(got.cosine_of_mean == doctest::Approx(0.387298).epsilon(1e-6));
}

TEST_CASE("equal and opposite states, numbers whose squares overflow, zeros and NaN") {
  device on;
  const auto x = random_numbers<float>(2 * 500, 13);
  std::vector<float> opposite = x;
  for (float& v : opposite) v = -v;
  CHECK(measure(on, x, x, 2).mean_of_cosines == doctest::Approx(1).epsilon(1e-12));
  CHECK(measure(on, x, opposite, 2).cosine_of_mean == doctest::Approx(-1).epsilon(1e-12));

  const std::vector<float> large{1e30f, 1e30f}, zero{0, 0}, nan{1, std::numeric_limits<float>::quiet_NaN()};
  const std::vector<float16> half{float16(60000.0f), float16(60000.0f)};
  CHECK(measure(on, large, large, 1).mean_of_cosines == doctest::Approx(1));
  CHECK(measure(on, half, half, 1).cosine_of_mean == doctest::Approx(1));
  CHECK(measure(on, large, zero, 1).mean_of_cosines == 0);
  CHECK(std::isnan(measure(on, large, nan, 1).mean_of_cosines));
  CHECK(std::isnan(measure(on, nan, large, 1).cosine_of_mean));
}

TEST_CASE("the same input gives the same bits") {
  device on;
  const auto a = random_numbers<bfloat16>(6 * 5000, 14), b = random_numbers<bfloat16>(6 * 5000, 15, &a);
  const scores once = measure(on, a, b, 6), again = measure(on, a, b, 6);
  CHECK(once.mean_of_cosines == again.mean_of_cosines);
  CHECK(once.cosine_of_mean == again.cosine_of_mean);
}

template <class F>
errc refusal(F&& call) {
  try {
    (void)call();
  } catch (const error& e) {
    return e.code();
  }
  return errc{0};
}

TEST_CASE("sizes that do not fit, and too little scratch") {
  device on;
  const auto a = on_device(on.stream, random_numbers<float>(8, 16));
  const auto of = [&](std::size_t size) { return std::span<const float>(a.data(), size); };
  CHECK(refusal([&] { return cuda::hidden_similarity(on.backend, of(8), of(4), 2); }) == errc::bad_shape);
  CHECK(refusal([&] { return cuda::hidden_similarity(on.backend, of(8), of(8), 3); }) == errc::bad_shape);
  CHECK(refusal([&] { return cuda::hidden_similarity(on.backend, of(8), of(8), 0); }) == errc::bad_shape);
  CHECK(refusal([&] { return cuda::hidden_similarity(on.backend, of(0), of(0), 1); }) == errc::bad_shape);
  const cuda::backend narrow(on.stream, on.properties, on.scratch.data(),
                             cuda::similarity_scratch_bytes(on.properties, 2) - 1);
  CHECK(refusal([&] { return cuda::hidden_similarity(narrow, of(8), of(8), 2); }) == errc::short_scratch);
}

}  // namespace
