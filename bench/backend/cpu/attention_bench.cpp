// SPDX-License-Identifier: Apache-2.0
// Attention over a cache, all sequences and KV heads in parallel.
//
// decode: one query row per sequence over 4096 tokens. Axes: element, layout, head_dim, KV heads (of 32 query heads:
// MHA, groups of 4, MQA). Floor: the bytes of the keys and values, once, over the read bandwidth, which `of_reading` is
// the share of. Each call takes the next layer of a cache of at least 256 MiB, so that no cache helps.
//
// decode_one: one query row of one sequence, as a server for one user decodes. Axes: element, tokens, KV heads. Fewer
// KV heads than threads split the context. Floor: as for decode.
//
// prefill: causal, all rows of one sequence at once. Axes: rows, head_dim, KV heads. Floor: 4 head_dim operations for
// every query head and every token it sees, over the rate of Eigen's large product, which `of_product_rate` is the
// share of.
#include "kvsharer/backend/cpu/attention.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <vector>

#include "backend/cpu/peak_rates.hpp"
#include "best_iteration.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/paged.hpp"
#include "kvsharer/runtime/shared_cache.hpp"
#include "product_rate.hpp"

namespace {

using namespace kvsharer;

constexpr index_t query_heads = 32;

std::vector<float> random_rows(index_t n) {
  std::minstd_rand draw(1);
  std::vector<float> rows(static_cast<std::size_t>(n));
  for (float& x : rows) x = static_cast<float>(draw()) * 0x1p-30f - 1;
  return rows;
}

/// `sequences` full sequences in every layer of a cache.
template <class E, class Layout>
shared_cache<E, Layout> filled(cache_shape shape, index_t sequences) {
  shared_cache<E, Layout> cache(share_map::identity(static_cast<int>(shape.layers)), shape,
                                {.max_sequences = sequences});
  const std::vector<float> rows = random_rows(shape.capacity * shape.kv_heads * shape.head_dim);
  for (index_t s = 0; s < sequences; ++s) {
    const sequence_id id = cache.create();
    cache.append(id, shape.capacity);
    for (layer_id l{0}; l.value < shape.layers; ++l.value)
      cache.store(l, id, 0, shape.capacity, rows.data(), rows.data());
  }
  return cache;
}

template <class E, class Layout>
void decode(benchmark::State& state) {
  static const double reading = peak_rates::read_bytes_per_second();
  constexpr index_t sequences = 4, tokens = 4096;
  const index_t head_dim = state.range(0), kv_heads = state.range(1);
  const index_t bytes = 2 * sequences * kv_heads * tokens * head_dim * static_cast<index_t>(sizeof(E));
  const index_t layers = std::max<index_t>(1, (index_t{256} << 20) / bytes);
  const auto cache = filled<E, Layout>({layers, kv_heads, head_dim, tokens}, sequences);
  const attention_shape shape{query_heads, kv_heads, head_dim};
  const std::vector<float> queries = random_rows(sequences * query_heads * head_dim);
  std::vector<float> out(queries.size());
  std::vector<cpu::attention_scratch> scratch(static_cast<std::size_t>(sequences * kv_heads));

  const double seconds = best_iteration(state, [&] {
    for (layer_id l{0}; l.value < layers; ++l.value)
      cpu::parallel_for(sequences * kv_heads, [&](index_t i) {
        const sequence_id id{static_cast<int>(i / kv_heads)};
        const index_t head = i % kv_heads, row = id.value * query_heads * head_dim;
        cpu::attend(shape, cache.keys(l, id), cache.values(l, id), tokens - 1, 1, queries.data() + row,
                    out.data() + row, scratch[static_cast<std::size_t>(i)], head, head + 1);
      });
  });
  const auto read = static_cast<double>(layers * bytes);
  state.counters["of_reading"] = read / seconds / reading;
  state.counters["bytes_per_s"] = read / seconds;
  state.counters["peak_read_bytes_per_s"] = reading;
}

template <class E, class Layout>
void decode_one(benchmark::State& state) {
  static const double reading = peak_rates::read_bytes_per_second();
  constexpr index_t head_dim = 128;
  const index_t tokens = state.range(0), kv_heads = state.range(1);
  const index_t bytes = 2 * kv_heads * tokens * head_dim * static_cast<index_t>(sizeof(E));
  const index_t layers = std::max<index_t>(1, (index_t{256} << 20) / bytes);
  const auto cache = filled<E, Layout>({layers, kv_heads, head_dim, tokens}, 1);
  const std::vector<float> queries = random_rows(query_heads * head_dim);
  std::vector<float> out(queries.size());
  const double seconds = best_iteration(state, [&] {
    for (layer_id l{0}; l.value < layers; ++l.value)
      cpu::attend({query_heads, kv_heads, head_dim}, cache.keys(l, {0}), cache.values(l, {0}), tokens - 1, 1,
                  queries.data(), out.data());
  });
  const auto read = static_cast<double>(layers * bytes);
  state.counters["of_reading"] = read / seconds / reading;
  state.counters["bytes_per_s"] = read / seconds;
  state.counters["us_per_layer"] = seconds / static_cast<double>(layers) * 1e6;
}

template <class E, class Layout>
void prefill(benchmark::State& state) {
  static const double product_rate = peak_rates::product_operations_per_second();
  const index_t rows = state.range(0), head_dim = state.range(1), kv_heads = state.range(2);
  const auto cache = filled<E, Layout>({1, kv_heads, head_dim, rows}, 1);
  const std::vector<float> queries = random_rows(rows * query_heads * head_dim);
  std::vector<float> out(queries.size());
  const double seconds = best_iteration(state, [&] {
    cpu::attend({query_heads, kv_heads, head_dim}, cache.keys({0}, {0}), cache.values({0}, {0}), 0, rows,
                queries.data(), out.data());
  });
  const double operations = 4.0 * static_cast<double>(query_heads * head_dim * (rows * (rows + 1) / 2));
  state.counters["of_product_rate"] = operations / seconds / product_rate;
  state.counters["operations_per_s"] = operations / seconds;
  state.counters["product_operations_per_s"] = product_rate;
}

#define KVSHARER_BENCH_LAYOUTS(name, E, axes)   \
  BENCHMARK(name<E, layout::head_major>) axes;  \
  BENCHMARK(name<E, layout::token_major>) axes; \
  BENCHMARK(name<E, layout::paged<16>>) axes
#define KVSHARER_DECODE_AXES \
  ->ArgNames({"dim", "kv_heads"})->ArgsProduct({{64, 128}, {32, 8, 1}})->UseRealTime()->Unit(benchmark::kMillisecond)
KVSHARER_BENCH_LAYOUTS(decode, float, KVSHARER_DECODE_AXES);
KVSHARER_BENCH_LAYOUTS(decode, float16, KVSHARER_DECODE_AXES);
KVSHARER_BENCH_LAYOUTS(decode, bfloat16, KVSHARER_DECODE_AXES);

#define KVSHARER_DECODE_ONE_AXES                     \
  ->ArgNames({"tokens", "kv_heads"})                 \
      ->ArgsProduct({{512, 4096, 32768}, {1, 2, 8}}) \
      ->UseRealTime()                                \
      ->Unit(benchmark::kMillisecond)
BENCHMARK(decode_one<float, layout::paged<16>>) KVSHARER_DECODE_ONE_AXES;
BENCHMARK(decode_one<bfloat16, layout::paged<16>>) KVSHARER_DECODE_ONE_AXES;

#define KVSHARER_PREFILL_AXES                  \
  ->ArgNames({"rows", "dim", "kv_heads"})      \
      ->ArgsProduct({{512, 2048}, {128}, {8}}) \
      ->Args({2048, 64, 32})                   \
      ->UseRealTime()                          \
      ->Unit(benchmark::kMillisecond)
KVSHARER_BENCH_LAYOUTS(prefill, float, KVSHARER_PREFILL_AXES);
KVSHARER_BENCH_LAYOUTS(prefill, bfloat16, KVSHARER_PREFILL_AXES);

}  // namespace
