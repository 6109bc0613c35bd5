// SPDX-License-Identifier: Apache-2.0
// Attention of one layer on the device, in bfloat16, 32 query heads of 128 channels.
//
// decode: one query row of each sequence. Axes: KV heads, batch, context, layout; decode_lists with a list of tokens
// for each KV head, of equal and of unequal lengths at the same bytes. Floor: the bytes of keys and values,
// read once, over the bandwidth of a large copy inside the device, which `of_copy` is the share of. Inputs rotate
// through at least 512 MiB, ten times what an H100's L2 holds.
//
// decode_step: the store of the newest rows and then attention, as in a model; with `settled`, attention copies older
// tokens before the store has ended. Same floor. decode_step/store: that store alone; floor: its bytes, read and
// written.
//
// prefill: causal, all rows at once. Floor: 4 head_dim operations for every query head and token it sees, over the rate
// of the tensor cores; `operations_per_s` is to be read against the rate of a large product on the same card. Inputs do
// not rotate: short prompts find them in the L2.
#include "kvsharer/backend/cuda/attention/attend.cuh"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "backend/cuda/device_timing.hpp"
#include "kvsharer/backend/cuda/pool_view.cuh"
#include "kvsharer/backend/cuda/store.cuh"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/paged.hpp"

namespace {

using namespace device_timing;

constexpr index_t query_heads = 32, head_dim = 128;

/// Numbers of about one, from a hash of their index: zeros would hide errors and run faster than real data.
__global__ void fill(bfloat16* x, std::size_t n, std::uint32_t seed) {
  for (std::size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += std::size_t{gridDim.x} * blockDim.x) {
    std::uint32_t h = static_cast<std::uint32_t>(i) * 2654435761u + seed;
    h = (h ^ (h >> 15)) * 2246822519u;
    h ^= h >> 13;
    x[i] = cuda::ptx::from_float<bfloat16>(static_cast<float>(h & 0xffffu) / 32768.0f - 1.0f);
  }
}

cuda::device_buffer<bfloat16> random_numbers(cuda::stream_ref stream, index_t n, std::uint32_t seed) {
  cuda::device_buffer<bfloat16> x(stream, static_cast<std::size_t>(n));
  fill<<<1024, 256, 0, stream.get()>>>(x.data(), x.size(), seed);
  cuda::check(cudaGetLastError(), "fill");
  return x;
}

template <class T>
cuda::device_buffer<T> on_device(cuda::stream_ref stream, const std::vector<T>& host) {
  cuda::device_buffer<T> x(stream, host.size());
  cuda::check(cudaMemcpyAsync(x.data(), host.data(), x.bytes(), cudaMemcpyHostToDevice, stream.get()), "copy");
  stream.synchronize();
  return x;
}

/// `sets` pools that each hold all sequences, their pages in random order.
template <class Layout>
struct inputs {
  cache_shape shape;
  index_t batch, sets;
  Layout layout{};
  index_t page_tokens = layout.page_tokens(shape);
  index_t blocks = (shape.capacity + page_tokens - 1) / page_tokens;
  index_t elements = batch * blocks * page_tokens * shape.kv_heads * head_dim;
  timed_stream stream{};
  cuda::device_buffer<bfloat16> keys = random_numbers(stream.ref(), sets* elements, 1);
  cuda::device_buffer<bfloat16> values = random_numbers(stream.ref(), sets* elements, 2);
  cuda::device_buffer<std::int32_t> tables = on_device(stream.ref(), shuffled(batch* blocks));
  cuda::device_buffer<std::int32_t> lengths =
      on_device(stream.ref(),
                std::vector<std::int32_t>(static_cast<std::size_t>(batch), static_cast<std::int32_t>(shape.capacity)));
  cuda::device_properties device = cuda::query_device();
  cuda::device_buffer<std::byte> scratch{stream.ref(), cuda::attention_scratch_bytes(device, head_dim)};
  cuda::backend on{stream.ref(), device, scratch.data(), scratch.size()};

  static std::vector<std::int32_t> shuffled(index_t n) {
    std::vector<std::int32_t> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(1));
    return order;
  }
  cuda::pool_batch<bfloat16> plane(cuda::device_buffer<bfloat16>& pool, index_t set) {
    return cuda::pool_of(pool.data() + set * elements, elements, tables.data(), blocks, shape, layout);
  }
  cuda::pool_batch<const bfloat16> view(const cuda::device_buffer<bfloat16>& pool, index_t set) const {
    return cuda::pool_of(pool.data() + set * elements, elements, tables.data(), blocks, shape, layout);
  }
};

template <class Layout>
void decode(benchmark::State& state) {
  const index_t kv_heads = state.range(0), batch = state.range(1), context = state.range(2);
  const index_t bytes = 2 * batch * context * kv_heads * head_dim * 2;
  const index_t sets = std::max<index_t>(1, (index_t{512} << 20) / bytes);
  inputs<Layout> in{{1, kv_heads, head_dim, context}, batch, sets};
  const auto queries = random_numbers(in.stream.ref(), batch * query_heads * head_dim, 3);
  auto out = random_numbers(in.stream.ref(), batch * query_heads * head_dim, 4);
  const cuda::ragged_batch rows{.sequences = batch, .rows = batch, .lengths = in.lengths.data()};
  measure(state, in.stream, static_cast<int>(sets), static_cast<double>(bytes), [&](int set) {
    cuda::attend<head_dim>(in.on, {query_heads, kv_heads, head_dim}, in.view(in.keys, set), in.view(in.values, set),
                           rows, queries.data(), out.data());
  });
}

/// Pages of 16. The newest row of each sequence is stored again and again.
void decode_step(benchmark::State& state, bool settled) {
  const index_t kv_heads = state.range(0), batch = state.range(1), context = state.range(2);
  const index_t bytes = 2 * batch * context * kv_heads * head_dim * 2;
  const index_t sets = std::max<index_t>(1, (index_t{512} << 20) / bytes);
  inputs<layout::paged<16>> in{{1, kv_heads, head_dim, context}, batch, sets};
  const auto queries = random_numbers(in.stream.ref(), batch * query_heads * head_dim, 3);
  const auto newest = random_numbers(in.stream.ref(), batch * kv_heads * head_dim, 5);
  auto out = random_numbers(in.stream.ref(), batch * query_heads * head_dim, 4);
  const cuda::ragged_batch rows{.sequences = batch, .rows = batch, .lengths = in.lengths.data(), .settled = settled};
  measure(state, in.stream, static_cast<int>(sets), static_cast<double>(bytes), [&](int set) {
    cuda::store(in.on, in.plane(in.keys, set), in.plane(in.values, set), rows,
                cuda::new_rows<bfloat16>{newest.data(), newest.data()});
    cuda::attend<head_dim>(in.on, {query_heads, kv_heads, head_dim}, in.view(in.keys, set), in.view(in.values, set),
                           rows, queries.data(), out.data());
  });
}

/// The store alone, of rows that lie in pages that nothing has touched for long.
void store_newest(benchmark::State& state) {
  const index_t kv_heads = state.range(0), batch = state.range(1), context = state.range(2);
  const index_t bytes = 2 * batch * context * kv_heads * head_dim * 2;
  const index_t sets = std::max<index_t>(1, (index_t{512} << 20) / bytes);
  inputs<layout::paged<16>> in{{1, kv_heads, head_dim, context}, batch, sets};
  const auto newest = random_numbers(in.stream.ref(), batch * kv_heads * head_dim, 5);
  const cuda::ragged_batch rows{.sequences = batch, .rows = batch, .lengths = in.lengths.data()};
  measure(state, in.stream, static_cast<int>(sets), static_cast<double>(2 * 2 * newest.bytes()), [&](int set) {
    cuda::store(in.on, in.plane(in.keys, set), in.plane(in.values, set), rows,
                cuda::new_rows<bfloat16>{newest.data(), newest.data()});
  });
}

/// Every KV head has a list of its own: of 23 tokens more than `context`, so that none fills its last page, or of half
/// to one and a half times as many, which are as many bytes.
void decode_lists(benchmark::State& state, bool uneven) {
  const index_t kv_heads = state.range(0), batch = state.range(1), context = state.range(2);
  constexpr index_t page_tokens = 16;
  const index_t blocks = (context + 23 + context / 2 + page_tokens - 1) / page_tokens, lists = batch * kv_heads;
  std::vector<std::int32_t> counts;
  index_t tokens = 0, pages = 0;
  for (index_t i = 0; i < lists; ++i) {
    // Pairs of neighbours have as many tokens together as equal ones; from pair to pair the difference grows.
    const index_t tokens_each = context + 23, apart = uneven ? context / 2 * (i / 2 % 8) / 7 : 0;
    counts.push_back(static_cast<std::int32_t>(i % 2 == 0 ? tokens_each + apart : tokens_each - apart));
    tokens += counts.back();
    pages += (counts.back() + page_tokens - 1) / page_tokens;
  }
  const index_t bytes = 2 * tokens * head_dim * 2, elements = pages * page_tokens * head_dim;
  const index_t sets = std::max<index_t>(1, (index_t{512} << 20) / bytes);
  timed_stream stream{};
  const auto keys = random_numbers(stream.ref(), sets * elements, 1);
  const auto values = random_numbers(stream.ref(), sets * elements, 2);
  std::vector<std::int32_t> order(static_cast<std::size_t>(pages)), tables(static_cast<std::size_t>(lists * blocks));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  for (index_t i = 0, next = 0; i < lists; ++i)
    for (index_t b = 0; b < (counts[static_cast<std::size_t>(i)] + page_tokens - 1) / page_tokens; ++b)
      tables[static_cast<std::size_t>(i * blocks + b)] = order[static_cast<std::size_t>(next++)];
  const auto pages_of = on_device(stream.ref(), tables), lengths = on_device(stream.ref(), counts);
  const cuda::device_properties device = cuda::query_device();
  cuda::device_buffer<std::byte> scratch{stream.ref(), cuda::attention_scratch_bytes(device, head_dim)};
  const cuda::backend on{stream.ref(), device, scratch.data(), scratch.size()};
  const cache_shape shape{1, kv_heads, head_dim, blocks * page_tokens};
  const auto view = [&](const cuda::device_buffer<bfloat16>& pool, index_t set) {
    auto of_heads = cuda::pool_of(pool.data() + set * elements, elements, pages_of.data(), kv_heads * blocks, shape,
                                  layout::strides_of(layout::paged<page_tokens>{}, {1, 1, head_dim, shape.capacity}));
    of_heads.pages.head_blocks = static_cast<std::uint32_t>(blocks);
    of_heads.tokens = {lengths.data(), static_cast<std::int32_t>(kv_heads), 1};
    return of_heads;
  };
  const auto queries = random_numbers(stream.ref(), batch * query_heads * head_dim, 3);
  auto out = random_numbers(stream.ref(), batch * query_heads * head_dim, 4);
  const cuda::ragged_batch rows{.sequences = batch, .rows = batch, .lengths = lengths.data()};
  measure(state, stream, static_cast<int>(sets), static_cast<double>(bytes), [&](int set) {
    cuda::attend<head_dim>(on, {query_heads, kv_heads, head_dim}, view(keys, set), view(values, set), rows,
                           queries.data(), out.data());
  });
}

template <class Layout>
void prefill(benchmark::State& state) {
  const index_t kv_heads = state.range(0), batch = state.range(1), tokens = state.range(2);
  inputs<Layout> in{{1, kv_heads, head_dim, tokens}, batch, 1};
  const auto queries = random_numbers(in.stream.ref(), batch * tokens * query_heads * head_dim, 3);
  auto out = random_numbers(in.stream.ref(), batch * tokens * query_heads * head_dim, 4);
  std::vector<std::int32_t> begins;
  for (index_t b = 0; b <= batch; ++b) begins.push_back(static_cast<std::int32_t>(b * tokens));
  const auto row_begin = on_device(in.stream.ref(), begins);
  const cuda::ragged_batch rows{.sequences = batch,
                                .rows = batch * tokens,
                                .max_rows = tokens,
                                .lengths = in.lengths.data(),
                                .row_begin = row_begin.data()};
  const double operations =
      4.0 * static_cast<double>(batch * query_heads * head_dim) * static_cast<double>(tokens * (tokens + 1) / 2);
  measure(state, in.stream, 1, static_cast<double>(2 * batch * tokens * kv_heads * head_dim * 2), [&](int) {
    cuda::attend<head_dim>(in.on, {query_heads, kv_heads, head_dim}, in.view(in.keys, 0), in.view(in.values, 0), rows,
                           queries.data(), out.data());
  });
  state.counters["operations_per_s"] =
      operations * state.counters["bytes_per_s"] / static_cast<double>(2 * batch * tokens * kv_heads * head_dim * 2);
}

void decode_shapes(benchmark::internal::Benchmark* b) {
  for (const int kv_heads : {32, 8})
    for (const auto& [batch, context] : {std::pair{1, 4096}, {1, 32768}, {16, 2048}, {32, 4096}, {64, 1024}})
      b->Args({kv_heads, batch, context});
  b->ArgNames({"kv_heads", "batch", "context"})->UseManualTime()->Iterations(1)->Unit(benchmark::kMicrosecond);
}
void prefill_shapes(benchmark::internal::Benchmark* b) {
  for (const int kv_heads : {32, 8})
    for (const auto& [batch, tokens] : {std::pair{1, 2048}, {1, 8192}, {30, 64}}) b->Args({kv_heads, batch, tokens});
  b->ArgNames({"kv_heads", "batch", "tokens"})->UseManualTime()->Iterations(1)->Unit(benchmark::kMicrosecond);
}
BENCHMARK(decode<layout::head_major>)->Apply(decode_shapes);
BENCHMARK(decode<layout::paged<16>>)->Apply(decode_shapes);
BENCHMARK_CAPTURE(decode_lists, even, false)->Apply(decode_shapes);
BENCHMARK_CAPTURE(decode_lists, uneven, true)->Apply(decode_shapes);
BENCHMARK(decode<layout::paged<64>>)->Apply(decode_shapes);
BENCHMARK_CAPTURE(decode_step, strict, false)->Apply(decode_shapes);
BENCHMARK_CAPTURE(decode_step, settled, true)->Apply(decode_shapes);
BENCHMARK(store_newest)->Name("decode_step/store")->Apply(decode_shapes);
BENCHMARK(prefill<layout::head_major>)->Apply(prefill_shapes);
BENCHMARK(prefill<layout::paged<16>>)->Apply(prefill_shapes);

}  // namespace
