// SPDX-License-Identifier: Apache-2.0
// append + store into all owner layers, beside a plain copy of as many bytes as the cache takes up.
//
// Axes: element type, layout, tokens per call (1: decode; 64: prefill in chunks). Shape: 8 layers, all owners, 8 KV
// heads of 128 channels. bytes/s counts the bytes written to the cache; of a converted element four are read. The pool
// is 64 MiB of floats, 32 MiB of 16-bit elements.
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "kvsharer/core/element.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/paged.hpp"
#include "kvsharer/runtime/footprint.hpp"
#include "kvsharer/runtime/shared_cache.hpp"

namespace {

using namespace kvsharer;

constexpr cache_shape shape{.layers = 8, .kv_heads = 8, .head_dim = 128, .capacity = 1024};

std::vector<float> source_rows(index_t tokens) {
  std::vector<float> rows(static_cast<std::size_t>(tokens * shape.kv_heads * shape.head_dim));
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i % 1013) * 0.37f - 180.0f;
  return rows;
}

void report(benchmark::State& state, index_t tokens_per_pass, std::size_t element_bytes) {
  const auto tokens = static_cast<int64_t>(state.iterations()) * tokens_per_pass;
  state.SetItemsProcessed(tokens);
  state.SetBytesProcessed(tokens *
                          static_cast<int64_t>(kv_bytes(static_cast<int>(shape.layers), shape, element_bytes)));
}

/// Fills a sequence from empty to capacity, `tokens` at a time.
template <class E, class Layout>
void append_store(benchmark::State& state) {
  const auto tokens = static_cast<index_t>(state.range(0));
  shared_cache<E, Layout> cache(share_map::identity(static_cast<int>(shape.layers)), shape);
  const auto keys = source_rows(tokens), values = source_rows(tokens);
  const auto id = cache.create();
  for (auto _ : state) {
    cache.truncate(id, 0);
    while (cache.length(id) < shape.capacity) {
      const index_t first = cache.append(id, tokens);
      for (int l = 0; l < shape.layers; ++l) cache.store({l}, id, first, tokens, keys.data(), values.data());
    }
    benchmark::ClobberMemory();
  }
  report(state, shape.capacity, sizeof(E));
}

/// The floor: the same pieces copied one after the other, without conversion.
template <class E>
void copy_floor(benchmark::State& state) {
  const std::size_t piece = static_cast<std::size_t>(state.range(0) * shape.kv_heads * shape.head_dim) * sizeof(E);
  const std::size_t all = kv_bytes(static_cast<int>(shape.layers), shape, sizeof(E), shape.capacity);
  std::vector<char> from(piece, 1), to(all);
  for (auto _ : state) {
    for (std::size_t at = 0; at < all; at += piece) std::memcpy(to.data() + at, from.data(), piece);
    benchmark::ClobberMemory();
  }
  report(state, shape.capacity, sizeof(E));
}

/// What a decode step pays besides copying: growing a ragged batch of 64 sequences by one token each.
template <class Layout>
void append_batch(benchmark::State& state) {
  constexpr index_t sequences = 64;
  shared_cache<float16, Layout> cache(share_map::identity(1), {1, 1, 16, shape.capacity}, {.max_sequences = sequences});
  std::vector<sequence_growth> batch;
  for (index_t i = 0; i < sequences; ++i) batch.push_back({cache.create(), 1});
  for (auto _ : state) {
    if (cache.length(batch[0].id) == shape.capacity)
      for (const auto& g : batch) cache.truncate(g.id, 0);
    cache.append(batch);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * sequences);
}

#define KVSHARER_BENCH_ELEMENT(E)                                   \
  BENCHMARK(copy_floor<E>)->Arg(1)->Arg(64);                        \
  BENCHMARK(append_store<E, layout::head_major>)->Arg(1)->Arg(64);  \
  BENCHMARK(append_store<E, layout::token_major>)->Arg(1)->Arg(64); \
  BENCHMARK(append_store<E, layout::paged<16>>)->Arg(1)->Arg(64);   \
  BENCHMARK(append_store<E, layout::paged<>>)->Arg(1)->Arg(64)

KVSHARER_BENCH_ELEMENT(float);
KVSHARER_BENCH_ELEMENT(float16);
KVSHARER_BENCH_ELEMENT(bfloat16);
BENCHMARK(append_batch<layout::head_major>);
BENCHMARK(append_batch<layout::paged<16>>);

}  // namespace
