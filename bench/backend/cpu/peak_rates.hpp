// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

#include "kvsharer/backend/cpu/aligned_vector.hpp"
#include "kvsharer/backend/cpu/parallel.hpp"
#include "kvsharer/backend/cpu/simd.hpp"

/// What this machine can do, measured in the same run as what is compared with it.
namespace peak_rates {

namespace simd = kvsharer::cpu::detail;
using kvsharer::index_t;

inline double seconds_of(auto&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The shortest of a few tries, after one to warm up.
inline double best_seconds(int tries, auto&& work) {
  work();
  double best = seconds_of(work);
  for (int i = 1; i < tries; ++i) best = std::min(best, seconds_of(work));
  return best;
}

/// Difference, square, add: per second, over all threads, from registers alone. 16 sums hide the latencies.
inline double difference_squares_per_second() {
  constexpr index_t sums = 16, rounds = 1 << 20;
  const index_t threads = kvsharer::cpu::thread_count();
  std::vector<float> sink(static_cast<std::size_t>(threads));
  const double seconds = best_seconds(5, [&] {
    kvsharer::cpu::parallel_for(threads, [&](index_t thread) {
      simd::pack sum[sums] = {}, a = {}, b = {};
      for (index_t r = 0; r < rounds; ++r)
        simd::unrolled<sums>([&](auto i) __attribute__((always_inline)) {
          asm volatile("" : "+x"(a), "+x"(b));  // or the differences would be computed once
          const simd::pack difference = a - b;
          sum[i] = sum[i] + difference * difference;
        });
      simd::unrolled<sums>([&](auto i) { sink[static_cast<std::size_t>(thread)] += sum[i][0]; });
    });
  });
  return static_cast<double>(threads * rounds * sums * simd::lanes) / seconds;
}

/// Fused multiply-adds per second, over all threads, from registers alone.
inline double multiply_adds_per_second() {
  constexpr index_t sums = 16, rounds = 1 << 20;
  const index_t threads = kvsharer::cpu::thread_count();
  std::vector<float> sink(static_cast<std::size_t>(threads));
  const double seconds = best_seconds(5, [&] {
    kvsharer::cpu::parallel_for(threads, [&](index_t thread) {
      simd::pack sum[sums] = {}, a = {}, b = {};
      for (index_t r = 0; r < rounds; ++r)
        simd::unrolled<sums>([&](auto i) __attribute__((always_inline)) {
          asm volatile("" : "+x"(a), "+x"(b));
          sum[i] = sum[i] + a * b;
        });
      simd::unrolled<sums>([&](auto i) { sink[static_cast<std::size_t>(thread)] += sum[i][0]; });
    });
  });
  return static_cast<double>(threads * rounds * sums * simd::lanes) / seconds;
}

/// Bytes per second that all threads together read from a buffer of 256 MiB, beyond every cache.
inline double read_bytes_per_second() {
  constexpr index_t pieces = 256, piece = (index_t{1} << 20) / static_cast<index_t>(sizeof(float));
  const simd::aligned_vector<float> buffer(static_cast<std::size_t>(pieces * piece), 1.0f);
  std::vector<float> sink(pieces);
  const double seconds = best_seconds(5, [&] {
    kvsharer::cpu::parallel_for(pieces, [&](index_t i) {
      simd::pack sum[4] = {};
      for (const float *p = buffer.data() + i * piece, *end = p + piece; p < end; p += 4 * simd::lanes)
        simd::unrolled<4>([&](auto k) { sum[k] = sum[k] + simd::aligned(p + k * simd::lanes); });
      sink[static_cast<std::size_t>(i)] = sum[0][0] + sum[1][0] + sum[2][0] + sum[3][0];
    });
  });
  return static_cast<double>(buffer.size() * sizeof(float)) / seconds;
}

}  // namespace peak_rates
