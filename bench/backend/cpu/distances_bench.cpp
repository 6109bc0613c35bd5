// SPDX-License-Identifier: Apache-2.0
// The distance matrix of all layer pairs. Axes: layers, KV heads, tokens, head_dim. Every number of keys and values is
// read once; every pair of numbers costs a subtraction and a multiply-add. Of the best iteration, as shares of the best
// that the same threads did between iterations:
//   of_multiply_adds   one multiply-add per pair of numbers, against multiply-adds from registers alone
//   of_arithmetic      against subtractions with their multiply-adds; lower where both need the same units
//   of_reading         against reading a buffer larger than every cache
// Best against best, so that other programs' load falls out of the shares: a ceiling measured while the machine was
// busy would make them too high. `median_over_best` tells how busy it was; repeat where it is far above 1.
#include "kvsharer/backend/cpu/distances.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <vector>

#include "backend/cpu/peak_rates.hpp"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/strided_index.hpp"
#include "kvsharer/metric/cosine.hpp"
#include "kvsharer/metric/flat_euclidean.hpp"
#include "kvsharer/metric/mean_row_norm.hpp"

namespace {

using namespace kvsharer;

struct random_cache {
  static constexpr auto space = memory_space::host;
  cache_shape s;
  std::vector<float> k, v;

  explicit random_cache(cache_shape shape)
      : s(shape), k(static_cast<std::size_t>(s.layers * s.kv_heads * s.capacity * s.head_dim)), v(k.size()) {
    std::minstd_rand draw(1);
    for (float& x : k) x = static_cast<float>(draw()) * 0x1p-30f - 1;
    for (float& x : v) x = static_cast<float>(draw()) * 0x1p-30f - 1;
  }
  cache_shape shape() const { return s; }
  index_t length() const { return s.capacity; }
  auto plane(const std::vector<float>& all, layer_id l) const {
    return layer_view{all.data() + l.value * s.kv_heads * s.capacity * s.head_dim,
                      layout::strided_index{.head = s.capacity * s.head_dim, .token = s.head_dim}};
  }
  auto keys(layer_id l) const { return plane(k, l); }
  auto values(layer_id l) const { return plane(v, l); }
};

/// The best of what was seen since the program began.
struct ceilings {
  double difference_squares = 0, multiply_adds = 0, reading = 0;

  void sample() {
    difference_squares = std::max(difference_squares, peak_rates::difference_squares_per_second());
    multiply_adds = std::max(multiply_adds, peak_rates::multiply_adds_per_second());
  }
  /// Slower, and memory is shared less than cores are.
  void sample_reading() { reading = std::max(reading, peak_rates::read_bytes_per_second()); }
};

template <class Metric>
void distances(benchmark::State& state) {
  static ceilings best;
  const random_cache cache(
      {.layers = state.range(0), .kv_heads = state.range(1), .head_dim = state.range(3), .capacity = state.range(2)});
  best.sample_reading();
  std::vector<double> seconds;
  for (auto _ : state) {
    if (seconds.size() % 8 == 0) best.sample();
    seconds.push_back(peak_rates::seconds_of(
        [&] { benchmark::DoNotOptimize(cpu::layer_distances(cpu::backend{}, cache, Metric{})); }));
    state.SetIterationTime(seconds.back());
  }
  best.sample();
  std::sort(seconds.begin(), seconds.end());

  const double numbers = static_cast<double>(cache.k.size() + cache.v.size());
  const double pairs_per_second = numbers * static_cast<double>(cache.s.layers - 1) / 2 / seconds.front();
  state.counters["best_ms"] = 1e3 * seconds.front();
  state.counters["median_over_best"] = seconds[seconds.size() / 2] / seconds.front();
  state.counters["of_multiply_adds"] = pairs_per_second / best.multiply_adds;
  state.counters["of_arithmetic"] = pairs_per_second / best.difference_squares;
  state.counters["of_reading"] = 4 * numbers / seconds.front() / best.reading;
  state.counters["peak_multiply_adds_per_s"] = best.multiply_adds;
  state.counters["peak_read_bytes_per_s"] = best.reading;
}

BENCHMARK(distances<metric::mean_row_norm>)
    ->ArgNames({"layers", "heads", "tokens", "dim"})
    ->Args({32, 32, 64, 128})
    ->Args({24, 4, 64, 64})
    ->Args({80, 8, 64, 128})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(distances<metric::flat_euclidean>)
    ->ArgNames({"layers", "heads", "tokens", "dim"})
    ->Args({32, 32, 64, 128})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(distances<metric::cosine>)
    ->ArgNames({"layers", "heads", "tokens", "dim"})
    ->Args({32, 32, 64, 128})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
