// SPDX-License-Identifier: Apache-2.0
// Short loops one after another, as decode has them, on an idle machine and beside one busy thread per processor.
//
// Axes: who hands out the work (parallel_for; OpenMP, as OMP_WAIT_POLICY says), busy threads per processor (0, 1). Each
// iteration is 200 loops of 2 indices per thread, about 100 microseconds of arithmetic each, with a few microseconds on
// the caller alone between them. `share` is the time that as much arithmetic takes on one thread of an idle machine,
// divided by the threads, as a part of the time measured: 1 is perfect on an idle machine, and 1/2 is what a fair
// system leaves beside busy threads. Run on a machine that is idle otherwise:
//
//     backend.cpu.loaded_machine_bench
//     OMP_WAIT_POLICY=passive backend.cpu.loaded_machine_bench
#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <thread>
#include <vector>

#include "kvsharer/backend/cpu/parallel.hpp"

namespace {

using kvsharer::index_t;

constexpr int loops = 200, indices_per_thread = 2;

/// Arithmetic that nothing can shorten.
float arithmetic(int steps, float x) {
  for (int i = 0; i < steps; ++i) x = x * 1.0001f + 0.5f;
  return x;
}

double seconds_of(auto&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Seconds of a number of steps on one thread: the best of many, since the machine may be loaded.
double best_seconds(int steps) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 50; ++i)
    best = std::min(best, seconds_of([&] { benchmark::DoNotOptimize(arithmetic(steps, 1)); }));
  return best;
}

/// One busy loop per processor, while it lives.
class load {
 public:
  explicit load(int threads) {
    for (int i = 0; i < threads; ++i)
      threads_.emplace_back([this] {
        while (!done_.load(std::memory_order_relaxed)) benchmark::DoNotOptimize(arithmetic(1000, 1));
      });
  }
  ~load() {
    done_ = true;
    for (std::thread& t : threads_) t.join();
  }

 private:
  std::atomic<bool> done_ = false;
  std::vector<std::thread> threads_;
};

void in_openmp(index_t n, auto&& f) {
#if defined(_OPENMP)
#pragma omp parallel for schedule(dynamic, 1)
#endif
  for (index_t i = 0; i < n; ++i) f(i);
}

void short_loops(benchmark::State& state, auto&& parallel) {
  const int threads = kvsharer::cpu::thread_count();
  const index_t indices = index_t{threads} * indices_per_thread;
  const int steps = static_cast<int>(1e5 * 100e-6 / best_seconds(100'000)), alone = steps / 20;
  std::vector<float> sums(static_cast<std::size_t>(indices) * 16);  // a cache line each
  const auto all = [&] {
    for (int l = 0; l < loops; ++l) {
      parallel(indices, [&](index_t i) { sums[static_cast<std::size_t>(i) * 16] += arithmetic(steps, 1); });
      benchmark::DoNotOptimize(arithmetic(alone, sums[0]));
    }
  };
  const double floor = loops * (indices_per_thread * best_seconds(steps) + best_seconds(alone));
  const load neighbours(static_cast<int>(state.range(0)) * static_cast<int>(std::thread::hardware_concurrency()));
  double seconds = 0;
  for (auto _ : state) seconds += seconds_of(all);
  seconds /= static_cast<double>(state.iterations());
  state.counters["share"] = floor / seconds;
}

void parallel_for(benchmark::State& state) {
  short_loops(state, [](index_t n, auto&& f) { kvsharer::cpu::parallel_for(n, f); });
}
void openmp(benchmark::State& state) {
  short_loops(state, [](index_t n, auto&& f) { in_openmp(n, f); });
}

BENCHMARK(parallel_for)->ArgName("busy")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond)->UseRealTime()->MinTime(3);
BENCHMARK(openmp)->ArgName("busy")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond)->UseRealTime()->MinTime(3);

}  // namespace
