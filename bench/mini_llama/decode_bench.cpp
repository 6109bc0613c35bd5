// SPDX-License-Identifier: Apache-2.0
// One decode step of a model whose weights exceed every cache: 16 layers of hidden 1024 and 8 heads of 128 channels,
// 411 MB of random bf16 weights, and a head of 17 MB.
//
// Axes: sequences in the batch, tokens before the step, element of the cache, layers that share (0 and 25 %).
//
// Floor: bytes over read bandwidth, which `of_reading` is the share of (goal: 0.6). Bytes are those of the weights,
// once for the whole batch and without K and V projections of readers, and of the keys and values that each layer reads
// for each sequence; a reader reads as much as an owner, so that sharing lowers the floor by projections alone, while
// `cache_bytes`, what is stored, falls by a quarter.
#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "backend/cpu/peak_rates.hpp"
#include "best_iteration.hpp"
#include "kvsharer/kvsharer.hpp"
#include "network/forward.hpp"
#include "synthetic_model.hpp"

namespace {

using namespace kvsharer;

const mini_llama::model& subject() {
  static const mini_llama::model m = mini_llama_bench::synthetic_model({.architecture = "LlamaForCausalLM",
                                                                        .layers = 16,
                                                                        .hidden = 1024,
                                                                        .intermediate = 2816,
                                                                        .heads = 8,
                                                                        .kv_heads = 8,
                                                                        .head_dim = 128,
                                                                        .vocab = 8192,
                                                                        .max_position = 4096,
                                                                        .norm_eps = 1e-5f,
                                                                        .rope = {},
                                                                        .eos = {},
                                                                        .windows = {},
                                                                        .kv_owners = {}});
  return m;
}

/// The last `readers` layers of the upper half each read a layer of the lower half.
share_map shared(int layers, int readers) {
  share_map map = share_map::identity(layers);
  for (int i = 0; i < readers; ++i) map = map.with({{layers / 2 + 2 * i}, {i}}).value();
  return map;
}

double weight_bytes(const mini_llama::model& m, const share_map& map) {
  double elements = 0;
  const auto count = [&](const mini_llama::weight& w) { elements += static_cast<double>(w.out * w.in); };
  for (int l = 0; l < m.config().layers; ++l) {
    const mini_llama::layer_weights& layer = m.layer(l);
    for (const auto* w : {&layer.query, &layer.output, &layer.gate, &layer.up, &layer.down}) count(*w);
    if (map.owns({l})) {
      count(layer.key);
      count(layer.value);
    }
  }
  count(m.head());
  return 2 * elements;
}

template <class E>
void decode(benchmark::State& state) {
  static const double reading = peak_rates::read_bytes_per_second();
  const index_t sequences = state.range(0), context = state.range(1);
  const mini_llama::model& m = subject();
  const mini_llama::model_config& c = m.config();
  const share_map map = shared(c.layers, static_cast<int>(state.range(2)));
  const cache_shape shape{c.layers, c.kv_heads, c.head_dim, context + 1};
  shared_cache<E> cache(map, shape, {.max_sequences = sequences});

  std::minstd_rand draw(1);
  std::vector<float> rows(static_cast<std::size_t>(context * c.kv_heads * c.head_dim));
  for (float& x : rows) x = static_cast<float>(draw()) * 0x1p-30f - 1;
  std::vector<mini_llama::sequence_slice> slices;
  for (index_t s = 0; s < sequences; ++s) {
    const sequence_id id = cache.create();
    cache.append(id, context);
    for (layer_id l{0}; l.value < c.layers; ++l.value)
      if (map.owns(l)) cache.store(l, id, 0, context, rows.data(), rows.data());
    slices.push_back({id, context, 1});
  }

  const std::vector<int> ids(slices.size(), 1);
  mini_llama::workspace workspace;
  const double seconds = best_iteration(state, [&] {
    for (const mini_llama::sequence_slice& s : slices) {
      cache.truncate(s.id, context);
      cache.append(s.id, 1);
    }
    mini_llama::forward(m, cache, slices, ids, {}, workspace);
  });
  const double weights = weight_bytes(m, map);
  const auto read =
      static_cast<double>(kv_bytes(c.layers, shape, sizeof(E), context + 1)) * static_cast<double>(sequences);
  state.counters["of_reading"] = (weights + read) / seconds / reading;
  state.counters["peak_read_bytes_per_s"] = reading;
  state.counters["weight_bytes"] = weights;
  state.counters["kv_bytes_read"] = read;
  state.counters["cache_bytes"] = static_cast<double>(cache.footprint().total());
  state.counters["tokens_per_s"] = static_cast<double>(sequences) / seconds;
}

#define KVSHARER_BENCH_DECODE(E)                      \
  BENCHMARK(decode<E>)                                \
      ->ArgNames({"sequences", "context", "readers"}) \
      ->ArgsProduct({{1, 4}, {512, 2048}, {0, 4}})    \
      ->UseRealTime()                                 \
      ->Unit(benchmark::kMillisecond)
KVSHARER_BENCH_DECODE(float);
KVSHARER_BENCH_DECODE(float16);
KVSHARER_BENCH_DECODE(bfloat16);

}  // namespace
