// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <limits>

/// Runs all iterations of a benchmark and returns the seconds of the shortest. What is compared with the best of a few
/// tries, as peak_rates does, has to be one itself: on a busy machine means say more about the neighbours.
double best_iteration(benchmark::State& state, auto&& work) {
  double best = std::numeric_limits<double>::infinity();
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}
