// SPDX-License-Identifier: Apache-2.0
// The running mean of caches in device memory, against means in double, and its refusals.
#include "kvsharer/backend/cuda/calibration_average.cuh"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "backend/cuda/device.hpp"
#include "backend/cuda/stored_planes.hpp"
#include "kvsharer/backend/cuda/distances/distances.cuh"
#include "kvsharer/backend/cuda/pool_view.cuh"
#include "kvsharer/metric/mean_row_norm.hpp"

namespace {

using namespace device_test;

/// The average's numbers, keys then values, as it gives them to kernels: [plane][layer][kv_head][token][channel].
std::vector<float> numbers_of(const device& on, const cuda::calibration_average<>& a) {
  std::vector<float> all;
  const cache_shape s = a.shape();
  for (int plane = 0; plane < 2; ++plane)
    for (layer_id l{0}; l.value < s.layers; ++l.value)
      for (index_t h = 0; h < s.kv_heads; ++h)
        for (index_t t = 0; t < a.length(); ++t) {
          const auto view = plane == 0 ? a.keys(l) : a.values(l);
          const auto row = on_host(on.stream, view.row(h, t), static_cast<std::size_t>(s.head_dim));
          all.insert(all.end(), row.begin(), row.end());
        }
  return all;
}

double worst(const std::vector<float>& got, const std::vector<planes>& samples) {
  REQUIRE(got.size() == 2 * samples[0].keys.size());
  double most = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    double mean = 0;
    for (const planes& p : samples)
      mean += static_cast<double>(i < p.keys.size() ? p.keys[i] : p.values[i - p.keys.size()]) /
              static_cast<double>(samples.size());
    const double difference = std::abs(static_cast<double>(got[i]) - mean);
    if (!(difference <= most)) most = difference;  // NaN too
  }
  return most;
}

/// Numbers are of magnitude 4 at most, and every sample rounds the mean once or twice.
template <class E>
void compare(cache_shape s, int count, unsigned seed, index_t gap = 0, index_t before = 0) {
  CAPTURE(s.layers);
  CAPTURE(s.head_dim);
  device on;
  cuda::calibration_average a(on.backend);
  std::vector<planes> samples;
  for (int n = 0; n < count; ++n) {
    samples.push_back(rounded<E>(random_planes(s, seed + static_cast<unsigned>(n))));
    const strided_memory<E> memory{samples.back(), gap, before};
    a.add(memory.cache());
    on.stream.synchronize();  // the sample's memory goes
  }
  CHECK(a.samples() == count);
  CHECK(a.shape() == s);
  CHECK(a.length() == s.capacity);
  CHECK(worst(numbers_of(on, a), samples) < 4 * 0x1p-23 * count);
}

TEST_CASE("the running mean is the mean, at every index") {
  compare<float>({1, 1, 64, 2}, 1, 1);
  compare<float>({3, 2, 128, 9}, 5, 10);
  compare<float>({33, 1, 96, 3}, 2, 20);
  compare<float>({2, 3, 33, 17}, 3, 30, 2, 1);
  compare<float16>({5, 2, 256, 8}, 4, 40);
  compare<bfloat16>({24, 1, 64, 5}, 3, 50, 1);
}

TEST_CASE("more layers than a kernel's arguments hold views of") { compare<float>({130, 1, 8, 2}, 2, 60); }

TEST_CASE("paged samples") {
  device on;
  cuda::calibration_average a(on.backend);
  std::vector<planes> samples;
  for (unsigned n = 0; n < 3; ++n) {
    const paged_memory memory{random_planes({7, 2, 64, 23}, 70 + n)};
    samples.push_back(memory.host);
    a.add(device_cache{memory.host.s, [&](int plane, int l) {
                         return layer_view{memory.plane(plane, l), memory.index(memory.tables.data())};
                       }});
    on.stream.synchronize();
  }
  CHECK(worst(numbers_of(on, a), samples) < 1e-5);
}

TEST_CASE("distances of an average are those of its numbers") {
  device on;
  cuda::calibration_average a(on.backend);
  const strided_memory<float> one{random_planes({5, 2, 64, 9}, 80), 0, 0}, two{random_planes({5, 2, 64, 9}, 81), 0, 0};
  a.add(one.cache());
  a.add(two.cache());
  planes mean = one.host;
  const auto numbers = numbers_of(on, a);
  std::copy(numbers.begin(), numbers.begin() + static_cast<std::ptrdiff_t>(mean.keys.size()), mean.keys.begin());
  std::copy(numbers.begin() + static_cast<std::ptrdiff_t>(mean.keys.size()), numbers.end(), mean.values.begin());
  const strided_memory<float> copied{mean, 0, 0};
  auto scratch =
      poisoned<std::byte>(on.stream, cuda::distances_scratch_bytes(on.properties, a, metric::mean_row_norm{}));
  const cuda::backend backend(on.stream, on.properties, scratch.data(), scratch.size());
  const distance_matrix expected = cuda::layer_distances(backend, copied.cache(), metric::mean_row_norm{});
  CHECK(expected(layer_pair{{4}, {1}}) > 0);
  CHECK(cuda::layer_distances(backend, a, metric::mean_row_norm{}) == expected);
}

template <class F>
errc refusal(F&& call) {
  try {
    call();
  } catch (const error& e) {
    return e.code();
  }
  return errc{0};
}

TEST_CASE("samples of another length or shape are refused, and the average stays as it was") {
  device on;
  cuda::calibration_average a(on.backend), lenient(on.backend, length_mismatch::skip);
  const planes first = random_planes({2, 1, 8, 4}, 90);
  const auto add = [&](cuda::calibration_average<>& to, const planes& p) {
    const strided_memory<float> memory{p, 0, 0};
    const errc code = refusal([&] { to.add(memory.cache()); });
    on.stream.synchronize();
    return code;
  };
  CHECK(add(a, random_planes({2, 1, 8, 1}, 91)) == errc::short_samples);
  CHECK(add(a, random_planes({0, 1, 8, 4}, 91)) == errc::bad_shape);
  CHECK(a.samples() == 0);
  CHECK(a.length() == 0);
  CHECK(add(a, first) == errc{0});
  CHECK(add(a, random_planes({2, 1, 8, 5}, 92)) == errc::mismatched_samples);
  for (const cache_shape s : {cache_shape{3, 1, 8, 4}, {2, 2, 8, 4}, {2, 1, 9, 4}})
    CHECK(add(a, random_planes(s, 93)) == errc::bad_shape);
  CHECK(a.samples() == 1);
  CHECK(worst(numbers_of(on, a), {first}) == 0);

  const planes third = random_planes({2, 1, 8, 4}, 94);
  CHECK(add(lenient, first) == errc{0});
  CHECK(add(lenient, random_planes({2, 1, 8, 5}, 95)) == errc{0});
  CHECK(add(lenient, third) == errc{0});
  CHECK(lenient.samples() == 2);
  CHECK(lenient.skipped() == 1);
  CHECK(worst(numbers_of(on, lenient), {first, third}) < 1e-6);
}

TEST_CASE("the first sample that is not finite is named when the average is used, and adding says nothing") {
  const planes good = random_planes({3, 2, 40, 9}, 96);
  for (const float spoiler : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()})
    for (auto spoilt_plane : {&planes::keys, &planes::values})
      for (const std::size_t at : {std::size_t{0}, std::size_t{1111}, good.keys.size() - 1}) {
        planes bad = good;
        (bad.*spoilt_plane)[at] = spoiler;
        device on;
        const strided_memory<float> fine{good, 0, 0}, spoilt{bad, 0, 0};
        cuda::calibration_average a(on.backend);
        a.add(fine.cache());
        CHECK(refusal([&] { (void)a.keys({0}); }) == errc{0});
        a.add(fine.cache());
        a.add(spoilt.cache());
        a.add(spoilt.cache());
        CHECK(a.samples() == 4);
        try {
          (void)a.values({2});
          FAIL("nothing was refused");
        } catch (const error& e) {
          CHECK(e.code() == errc::not_finite);
          CHECK(std::string(e.what()).find("sample 2 ") != std::string::npos);
        }
        CHECK(refusal([&] { (void)a.keys({0}); }) == errc::not_finite);
      }
}

TEST_CASE("a block table that leads outside a pool is reported when the average is used") {
  const paged_memory memory{random_planes({4, 2, 64, 23}, 97)};
  device on;
  std::vector<std::int32_t> entries = memory.table;
  entries.back() = -1;
  const auto bad = on_device(on.stream, entries);
  cuda::calibration_average a(on.backend);
  a.add(device_cache{
      memory.host.s, [&](int plane, int l) {
        using view = cuda::pool_view<const float, layout::paged_index>;
        const auto& table = plane == 0 && l == 2 ? bad : memory.tables;
        return view{memory.plane(plane, l), memory.pool - memory.host.s.head_dim, memory.index(table.data())};
      }});
  try {
    (void)a.keys({0});
    FAIL("nothing was refused");
  } catch (const error& e) {
    CHECK(e.code() == errc::device_refusal);
    CHECK(std::string(e.what()).find("layer 2,") != std::string::npos);
    CHECK(std::string(e.what()).find("token 2") != std::string::npos);  // 20 to 22
  }
  CHECK(refusal([&] { (void)a.keys({0}); }) == errc::device_refusal);  // void for good
}

}  // namespace
