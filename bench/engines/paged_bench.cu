// SPDX-License-Identifier: Apache-2.0
// Decode steps of the paged engine of tests/engines, as its author wrote it and adapted: 12 layers of hidden 512, 8
// heads of 64 channels, 109 MB of random weights in float, 8 sequences after 128 tokens each.
//
// Axis: layers that share. `allocated_bytes` is what the engine has allocated, its scratch included. Time is the
// device's, from the copy of a step's tokens to that of its states. Floor: the weights' bytes that a step reads, once,
// over the bandwidth of a large copy inside the device, which `of_copy` is the share of; the engine's plain products
// are far from it. A reader's K and V projections are not read.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <random>
#include <vector>

#include "backend/cuda/device_timing.hpp"
#include "engines/paged/engine.cuh"
#include "engines/paged_shared/engine.cuh"
#include "kvsharer/core/share_map.hpp"

namespace {

using namespace device_timing;

constexpr int layers = 12, embd = 512, heads = 8, head = 64, inner = 1376, vocab = 256, sequences = 8;
constexpr int before = 128, steps = 16, pages_each = (before + steps + 1) / paged::page_tokens + 1;
constexpr std::size_t row = std::size_t{heads} * head, layer_weights = 4 * row * embd + 3 * std::size_t{inner} * embd;

/// The same ones for every engine.
cuda::device_buffer<float> random_numbers(const timed_stream& stream) {
  std::mt19937 bits(1);
  std::vector<float> x(layers * (layer_weights + 2 * embd) + std::size_t{vocab} * embd);
  for (float& v : x) v = (static_cast<float>(bits() % 2001) / 1000.0f - 1) / 20;
  cuda::device_buffer<float> on_device(stream.ref(), x.size());
  cuda::check(
      cudaMemcpyAsync(on_device.data(), x.data(), on_device.bytes(), cudaMemcpyHostToDevice, stream.ref().get()),
      "cudaMemcpyAsync");
  stream.ref().synchronize();
  return on_device;
}

template <class Weights, class Layer>
Weights weights_of(const cuda::device_buffer<float>& numbers) {
  const float* at = numbers.data();
  const auto take = [&at](std::size_t n) {
    const float* here = at;
    at += n;
    return here;
  };
  Weights w{};
  for (int l = 0; l < layers; ++l)
    w.layers.push_back(Layer{take(embd), take(row * embd), take(row * embd), take(row * embd), take(row * embd),
                             take(embd), take(inner * embd), take(inner * embd), take(inner * embd)});
  w.tok_embd = take(std::size_t{vocab} * embd);
  w.out_norm = w.layers[0].attn_norm;
  return w;
}

template <class Hparams>
Hparams sizes() {
  return {layers,    embd,       heads, heads,   head, inner, vocab, sequences * pages_each,
          sequences, pages_each, 1e-5f, 10000.0f};
}

template <class Engine>
void decode(benchmark::State& state, timed_stream& stream, Engine& e, int readers) {
  std::vector<float> hidden;
  std::vector<int> tokens(sequences);
  const auto step = [&](int i) {
    for (int s = 0; s < sequences; ++s) tokens[static_cast<std::size_t>(s)] = (7 * s + i) % vocab;
    if (!e.decode(tokens, hidden)) state.SkipWithError("out of pages");
  };
  for (int i = 0; i < before; ++i) step(i);
  double seconds = 0;
  for (auto unused : state) {
    (void)unused;
    std::vector<double> each;
    for (int i = 0; i < steps; ++i) each.push_back(stream.seconds_of([&] { step(before + i); }));
    seconds = median(each);
    state.SetIterationTime(seconds);
  }
  const double bytes = static_cast<double>(
      (layers * layer_weights - 2 * static_cast<std::size_t>(readers) * row * embd) * sizeof(float));
  state.counters["tokens_per_s"] = sequences / seconds;
  state.counters["allocated_bytes"] = static_cast<double>(e.allocated());
  state.counters["of_copy"] = bytes / seconds / copy_bytes_per_second();
}

void original(benchmark::State& state) {
  timed_stream stream;
  const auto numbers = random_numbers(stream);
  paged::engine e(sizes<paged::hparams>(), weights_of<paged::weights, paged::layer_weights>(numbers),
                  stream.ref().get());
  decode(state, stream, e, 0);
}

void adapted(benchmark::State& state) {
  timed_stream stream;
  const auto numbers = random_numbers(stream);
  const auto readers = static_cast<int>(state.range(0));
  share_map map = share_map::identity(layers);
  for (int i = 0; i < readers; ++i) map = map.with({{layers - 1 - i}, {i}}).value();
  paged_shared::engine e(sizes<paged_shared::hparams>(),
                         weights_of<paged_shared::weights, paged_shared::layer_weights>(numbers), map,
                         stream.ref().get());
  decode(state, stream, e, readers);
}

BENCHMARK(original)->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(adapted)->ArgName("readers")->Arg(0)->Arg(3)->Arg(5)->UseManualTime()->Iterations(1)->Unit(
    benchmark::kMillisecond);

}  // namespace
