// SPDX-License-Identifier: Apache-2.0
// The distance matrix of all layer pairs. Axes: layers, KV heads, tokens, head_dim. Every number of keys and values is
// read once (gigabytes_per_s); every pair of numbers costs a subtraction and a multiply-add. `of_arithmetic` is the
// share of the rate at which the same threads do that from registers alone, `of_reading` the share of their read
// bandwidth.
#include "kvsharer/backend/cpu/distances.hpp"

#include <benchmark/benchmark.h>

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

template <class Metric>
void distances(benchmark::State& state) {
  const random_cache cache(
      {.layers = state.range(0), .kv_heads = state.range(1), .head_dim = state.range(3), .capacity = state.range(2)});
  static const double difference_squares = peak_rates::difference_squares_per_second();
  static const double multiply_adds = peak_rates::multiply_adds_per_second();
  static const double reading = peak_rates::read_bytes_per_second();
  for (auto _ : state) benchmark::DoNotOptimize(cpu::layer_distances(cpu::backend{}, cache, Metric{}));

  const double numbers = static_cast<double>(cache.k.size() + cache.v.size());
  const double folds = numbers * static_cast<double>(cache.s.layers - 1) / 2;
  using benchmark::Counter;
  const auto per_second = Counter::kIsIterationInvariantRate;
  state.counters["pairs_per_s"] = Counter(folds, per_second);
  state.counters["of_arithmetic"] = Counter(folds / difference_squares, per_second);
  state.counters["of_multiply_adds"] = Counter(2 * folds / multiply_adds, per_second);
  state.counters["of_reading"] = Counter(4 * numbers / reading, per_second);
  state.counters["peak_pairs_per_s"] = difference_squares;
  state.counters["peak_read_bytes_per_s"] = reading;
}

BENCHMARK(distances<metric::mean_row_norm>)
    ->ArgNames({"layers", "heads", "tokens", "dim"})
    ->Args({32, 32, 64, 128})
    ->Args({24, 4, 64, 64})
    ->Args({80, 8, 64, 128})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(distances<metric::flat_euclidean>)
    ->ArgNames({"layers", "heads", "tokens", "dim"})
    ->Args({32, 32, 64, 128})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(distances<metric::cosine>)
    ->ArgNames({"layers", "heads", "tokens", "dim"})
    ->Args({32, 32, 64, 128})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
