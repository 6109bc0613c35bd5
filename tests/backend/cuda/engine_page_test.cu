// SPDX-License-Identifier: Apache-2.0
// The engine of docs/how-to/use-the-gpu.md, run as the page says.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "backend/cuda/device.hpp"
#include "kvsharer/backend/cuda/sequence_batch.cuh"
#include "kvsharer/backend/cuda/shared_cache.cuh"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/strided_index.hpp"

using namespace kvsharer;
using device_test::on_host;
using device_test::owned_stream;

namespace page {

constexpr index_t heads = 4, kv_heads = 2, head_dim = 64, query_width = heads * head_dim, width = kv_heads * head_dim;

// [foreign]
/// Sequences side by side in one block of the engine's memory, [sequence][kv_head][token][channel].
struct engine_rows {
  const float16* data;
  index_t capacity;

  KVSHARER_HD auto sequence(index_t place) const {
    return layer_view{data + place * kv_heads * capacity * head_dim,
                      layout::strided_index{.head = capacity * head_dim, .token = head_dim}};
  }
};
static_assert(cuda::BatchView<engine_rows>);
// [/foreign]

inline std::vector<float16> ones(index_t n) { return std::vector<float16>(static_cast<std::size_t>(n), float16(1.0f)); }

}  // namespace page

using namespace page;

TEST_CASE("the engine of the page decodes from a captured graph") {
  owned_stream mine;
  const cudaStream_t my_stream = mine.ref().get();
  const share_map map = share_map::from_owners(std::vector<int>{0, 1, 1}).value();

  // [backend]
  const cuda::stream_ref stream(my_stream);                     // the engine's own
  const cuda::device_properties device = cuda::query_device();  // once; throws where there is no usable device
  cuda::device_buffer<std::byte> scratch(stream, cuda::attention_scratch_bytes(device, head_dim));
  cuda::device_buffer<cuda::status_word> status(stream, 1);
  cuda::check(cudaMemsetAsync(status.data(), 0, status.bytes(), my_stream), "clearing the status");
  const cuda::backend on{stream, device, scratch.data(), scratch.bytes(), status.data()};
  // [/backend]

  // [cache]
  const cache_shape shape{.layers = 3, .kv_heads = kv_heads, .head_dim = head_dim, .capacity = 128};
  cuda::shared_cache<float16, layout::paged<16>> cache(map, shape, {.max_sequences = 8, .pages = 40}, stream);
  cuda::sequence_batch<> batch(stream, 8);
  // [/cache]

  const auto rows = device_test::on_device(stream, ones(8 * width));
  const auto projected = [&](layer_id) { return cuda::new_rows<float16>{rows.data(), rows.data()}; };
  const auto queries = device_test::on_device(stream, ones(8 * query_width));
  auto out = device_test::poisoned<float16>(stream, static_cast<std::size_t>(8 * query_width));

  // [step]
  const auto step = [&] {
    for (layer_id l{0}; l.value < map.layers(); ++l.value) {
      if (cache.owns(l)) cache.store(on, l, batch.batch(), projected(l));
      cuda::attend<head_dim>(on, {heads, kv_heads, head_dim}, cache.keys(l), cache.values(l), batch.batch(),
                             queries.data(), out.data(), {}, l);
    }
  };
  // [/step]

  // [prefill]
  const sequence_id a = cache.create(), b = cache.create();
  const sequence_growth prompts[] = {{a, 5}, {b, 3}};
  cache.append(prompts);         // pages and lengths, in stream order
  batch.assign(cache, prompts);  // of each sequence, how many of the newest tokens are worked on
  step();
  // [/prefill]

  // [capture]
  const sequence_growth one_each[] = {{a, 1}, {b, 1}};
  cache.append(one_each);
  batch.assign(cache, one_each);
  cudaGraph_t graph;
  cudaGraphExec_t decode;
  cuda::check(cudaStreamBeginCapture(my_stream, cudaStreamCaptureModeThreadLocal), "begin of capture");
  step();
  cuda::check(cudaStreamEndCapture(my_stream, &graph), "end of capture");
  cuda::check(cudaGraphInstantiate(&decode, graph, 0), "instantiation");
  cuda::check(cudaGraphLaunch(decode, my_stream), "decode step");
  // [/capture]

  for (int i = 0; i < 20; ++i) {
    // [replay]
    cache.append(one_each);  // the graph reads lengths and block tables from where they always are
    cuda::check(cudaGraphLaunch(decode, my_stream), "decode step");
    // [/replay]
  }

  // [status]
  on.check_status();  // waits for the stream; throws what a kernel refused
  // [/status]
  CHECK(cache.length(a) == 26);
  CHECK(cache.length(b) == 24);
  const std::vector<float16> got = on_host(out);
  for (index_t i = 0; i < 2 * query_width; ++i) CHECK(static_cast<float>(got[static_cast<std::size_t>(i)]) == 1.0f);
  cudaGraphExecDestroy(decode);
  cudaGraphDestroy(graph);
}

TEST_CASE("the adapter of the page reads the engine's memory where it lies") {
  device_test::device on;
  std::vector<float16> numbers(2 * kv_heads * 10 * head_dim);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = float16(i < numbers.size() / 2 ? 1.0f : 3.0f);
  const auto pool = device_test::on_device(on.stream, numbers);
  const auto lengths = device_test::on_device(on.stream, std::vector<std::int32_t>{7, 10});
  const auto queries = device_test::on_device(on.stream, ones(2 * query_width));
  auto out = device_test::poisoned<float16>(on.stream, static_cast<std::size_t>(2 * query_width));
  const engine_rows rows{pool.data(), 10};
  cuda::attend<head_dim>(on.backend, {heads, kv_heads, head_dim}, rows, rows,
                         {.sequences = 2, .rows = 2, .lengths = lengths.data()}, queries.data(), out.data());
  const auto got = on_host(out);
  CHECK(static_cast<float>(got.front()) == 1.0f);
  CHECK(static_cast<float>(got.back()) == 3.0f);
}
