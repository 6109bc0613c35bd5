// SPDX-License-Identifier: Apache-2.0
// Decode steps of the flat engine of tests/engines, as its author wrote it and adapted: 12 layers of hidden 512, 8
// heads of 64 channels, 109 MB of random weights in float, one sequence after 512 tokens.
//
// Axis: layers that share. `cache_bytes` is what the engine's allocator holds besides its scratch. Floor: the weights'
// bytes that a step reads over the bandwidth of memory; a reader's K and V projections are not read.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <random>
#include <vector>

#include "engines/flat/engine.hpp"
#include "engines/flat_shared/engine.hpp"
#include "kvsharer/core/share_map.hpp"

namespace {

constexpr int layers = 12, embd = 512, heads = 8, head = 64, inner = 1376, vocab = 256, before = 512;

template <class Weights, class Layer>
struct random_weights {
  std::vector<float> numbers;
  std::vector<Layer> of_layers;
  Weights weights;

  random_weights() : numbers(std::size_t{layers} * (4 * embd * embd + 3 * inner * embd + 2 * embd) + vocab * embd) {
    std::mt19937 bits(1);
    for (float& x : numbers) x = (static_cast<float>(bits() % 2001) / 1000.0f - 1) / 20;
    const float* at = numbers.data();
    const auto take = [&at](std::size_t n) {
      const float* here = at;
      at += n;
      return here;
    };
    for (int l = 0; l < layers; ++l)
      of_layers.push_back({take(embd), take(embd * embd), take(embd * embd), take(embd * embd), take(embd * embd),
                           take(embd), take(inner * embd), take(inner * embd), take(inner * embd)});
    const float* table = take(vocab * embd);
    weights = {table, of_layers[0].attn_norm, table, of_layers.data()};
  }
};

template <class Engine, class Eval>
void decode(benchmark::State& state, Engine* e, Eval eval, std::size_t cache_bytes) {
  std::vector<int> prompt(before);
  for (int i = 0; i < before; ++i) prompt[static_cast<std::size_t>(i)] = i % vocab;
  std::vector<float> hidden(prompt.size() * embd);
  eval(e, prompt.data(), before, hidden.data());
  int token = 7;
  for (auto _ : state) {
    eval(e, &token, 1, hidden.data());
    e->n_past = before;
  }
  state.counters["tokens_per_s"] =
      benchmark::Counter(static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
  state.counters["cache_bytes"] = static_cast<double>(cache_bytes);
}

constexpr std::size_t layer_bytes = 2ul * (before + 8) * heads * head * sizeof(float);

void original(benchmark::State& state) {
  static const random_weights<flat::weights, flat::layer_weights> w;
  flat::engine* e =
      flat::engine_new({layers, embd, heads, heads, head, inner, vocab, before + 8, 1e-5f, 10000.0f}, w.weights);
  decode(state, e, flat::engine_eval, layers * layer_bytes);
  flat::engine_free(e);
}

void adapted(benchmark::State& state) {
  static const random_weights<flat_shared::weights, flat_shared::layer_weights> w;
  const auto readers = static_cast<int>(state.range(0));
  kvsharer::share_map map = kvsharer::share_map::identity(layers);
  for (int i = 0; i < readers; ++i) map = map.with({{layers - 1 - i}, {i}}).value();
  flat_shared::engine* e = flat_shared::engine_new(
      {layers, embd, heads, heads, head, inner, vocab, before + 8, 1e-5f, 10000.0f}, w.weights, map);
  decode(state, e, flat_shared::engine_eval, static_cast<std::size_t>(map.owner_count()) * layer_bytes);
  flat_shared::engine_free(e);
}

BENCHMARK(original)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(adapted)->ArgName("readers")->Arg(0)->Arg(3)->Arg(5)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
