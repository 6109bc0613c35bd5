// SPDX-License-Identifier: Apache-2.0
// The distance matrix of all layer pairs on the device, of averages in float. Axes: layers, KV heads, tokens, head_dim.
// A call waits for its result: timed is the whole of it by events before and after, copies and gaps between launches
// included; nothing is captured, and inputs do not rotate.
//
// Two floors, and the larger one counts. Memory: every number of keys and values read once, over the bandwidth of a
// large copy inside the device. Arithmetic: for every pair of numbers a subtraction and a multiply-add (three
// multiply-adds for the cosine) over the rate of the float units at the device's highest clock. `of_floor` is the share
// of the larger. The averages of 64 tokens, a search's own shape, may stay in the L2 in part; all others are far
// larger.
#include "kvsharer/backend/cuda/distances/distances.cuh"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "backend/cuda/device_timing.hpp"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/strided_index.hpp"
#include "kvsharer/metric/cosine.hpp"
#include "kvsharer/metric/flat_euclidean.hpp"
#include "kvsharer/metric/mean_row_norm.hpp"

namespace {

using namespace device_timing;

/// Numbers of about one, from a hash of their index.
__global__ void fill(float* x, std::size_t n, std::uint32_t seed) {
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n;
       i += std::size_t{gridDim.x} * blockDim.x) {
    std::uint32_t h = static_cast<std::uint32_t>(i) * 2654435761u + seed;
    h = (h ^ (h >> 15)) * 2246822519u;
    h ^= h >> 13;
    x[i] = static_cast<float>(h & 0xffffffu) / 8388608.0f - 1.0f;
  }
}

/// [keys, values][layer][kv_head][token][channel].
struct averages {
  static constexpr auto space = memory_space::device;
  cache_shape s;
  timed_stream stream{};
  cuda::device_buffer<float> numbers{stream.ref(),
                                     static_cast<std::size_t>(2 * s.layers * s.kv_heads * s.capacity * s.head_dim)};

  explicit averages(cache_shape shape) : s(shape) {
    fill<<<1024, 256, 0, stream.ref().get()>>>(numbers.data(), numbers.size(), 1);
    cuda::check(cudaGetLastError(), "fill");
  }
  auto plane(index_t i) const {
    return layer_view{numbers.data() + i * s.kv_heads * s.capacity * s.head_dim,
                      layout::strided_index{.head = s.capacity * s.head_dim, .token = s.head_dim}};
  }
  cache_shape shape() const { return s; }
  index_t length() const { return s.capacity; }
  auto keys(layer_id l) const { return plane(l.value); }
  auto values(layer_id l) const { return plane(s.layers + l.value); }
};

/// Float instructions per second, one for each lane, at the highest clock.
double instructions_per_second(const cuda::device_properties& device) {
  int number = 0, kilohertz = 0;
  cuda::check(cudaGetDevice(&number), "cudaGetDevice");
  cuda::check(cudaDeviceGetAttribute(&kilohertz, cudaDevAttrClockRate, number), "cudaDeviceGetAttribute");
  return 128.0 * device.multiprocessors * kilohertz * 1e3;
}

template <class Metric>
void distances(benchmark::State& state) {
  averages in(
      {.layers = state.range(0), .kv_heads = state.range(1), .head_dim = state.range(3), .capacity = state.range(2)});
  const cuda::device_properties device = cuda::query_device();
  cuda::device_buffer<std::byte> scratch(in.stream.ref(), cuda::distances_scratch_bytes(device, in, Metric{}));
  const cuda::backend on(in.stream.ref(), device, scratch.data(), scratch.size());
  benchmark::DoNotOptimize(cuda::layer_distances(on, in, Metric{}));

  std::vector<double> seconds;
  for (auto unused : state) {
    (void)unused;
    seconds.push_back(in.stream.seconds_of([&] { benchmark::DoNotOptimize(cuda::layer_distances(on, in, Metric{})); }));
    state.SetIterationTime(seconds.back());
  }
  const double middle = median(seconds), bytes = static_cast<double>(in.numbers.bytes());
  const double pairs = static_cast<double>(in.numbers.size()) * static_cast<double>(in.s.layers - 1) / 2;
  const double reading = bytes / copy_bytes_per_second();
  const double folding = pairs * (sizeof(typename Metric::partial) == 12 ? 3 : 2) / instructions_per_second(device);
  state.counters["median_ms"] = 1e3 * middle;
  state.counters["bytes_per_s"] = bytes / middle;
  state.counters["of_copy"] = reading / middle;
  state.counters["of_arithmetic"] = folding / middle;
  state.counters["of_floor"] = std::max(reading, folding) / middle;
  state.counters["copy_bytes_per_s"] = copy_bytes_per_second();
}

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"layers", "heads", "tokens", "dim"})->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(25);
  b->Args({32, 32, 2048, 128})->Args({32, 32, 64, 128})->Args({32, 8, 2048, 128})->Args({80, 8, 2048, 128});
}
BENCHMARK(distances<metric::mean_row_norm>)->Apply(shapes);
BENCHMARK(distances<metric::flat_euclidean>)->Apply(shapes);
BENCHMARK(distances<metric::cosine>)->Apply(shapes);

}  // namespace
