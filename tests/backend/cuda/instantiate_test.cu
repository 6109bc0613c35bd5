// SPDX-License-Identifier: Apache-2.0
// An engine whose kernels are made in another file of the program, instantiate/engine_kernels.cu. That this file holds
// none is what the tests called instantiate.kernels look at.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "backend/cuda/device.hpp"
#include "backend/cuda/instantiate/engine_kernels.cuh"
#include "kvsharer/backend/cuda/sequence_batch.cuh"

using namespace kvsharer;

namespace {

constexpr index_t kv_heads = 1, head_dim = 64;

std::vector<float16> all(index_t rows, float value) {
  return std::vector<float16>(static_cast<std::size_t>(rows * kv_heads * head_dim), float16(value));
}

}  // namespace

TEST_CASE("the cache and attention of kernels that another file makes") {
  device_test::device on;
  cuda::shared_cache<float16, engine::layout> cache(share_map::identity(1), {1, kv_heads, head_dim, 32},
                                                    {.max_sequences = 2}, on.stream);
  const sequence_id id = cache.create();
  const sequence_growth grown[] = {{id, 3}};
  cache.append(grown);
  cuda::sequence_batch<> batch(on.stream, 2);
  batch.assign(cache, grown);
  // Equal keys make attention a mean of the values seen: 1, (1 + 2) / 2, (1 + 2 + 6) / 3.
  std::vector<float16> values = all(1, 1.0f);
  for (const float v : {2.0f, 6.0f}) {
    const auto row = all(1, v);
    values.insert(values.end(), row.begin(), row.end());
  }
  const auto keys_there = device_test::on_device(on.stream, all(3, 0.5f));
  const auto values_there = device_test::on_device(on.stream, values);
  const auto queries = device_test::on_device(on.stream, all(3, 1.0f));
  auto out = device_test::poisoned<float16>(on.stream, static_cast<std::size_t>(3 * head_dim));
  cache.store(on.backend, {0}, batch.batch(), cuda::new_rows<float16>{keys_there.data(), values_there.data()});
  cuda::attend<head_dim>(on.backend, {1, kv_heads, head_dim}, cache.keys({0}), cache.values({0}), batch.batch(),
                         queries.data(), out.data());
  on.backend.check_status();
  const auto got = device_test::on_host(out);
  const float expected[] = {1.0f, 1.5f, 3.0f};
  for (std::size_t i = 0; i < got.size(); ++i)
    CHECK(std::fabs(static_cast<float>(got[i]) - expected[i / head_dim]) < 0.01f);
}

TEST_CASE("distances by kernels that another file makes") {
  device_test::device on;
  engine::average average(on.backend);
  cuda::shared_cache<float16, engine::layout> cache(share_map::identity(2), {2, kv_heads, head_dim, 16},
                                                    {.max_sequences = 1}, on.stream);
  const sequence_id id = cache.create();
  const sequence_growth grown[] = {{id, 2}};
  cache.append(grown);
  cuda::sequence_batch<> batch(on.stream, 1);
  batch.assign(cache, grown);
  const auto ones = device_test::on_device(on.stream, all(2, 1.0f));
  const auto threes = device_test::on_device(on.stream, all(2, 3.0f));
  cache.store(on.backend, {0}, batch.batch(), cuda::new_rows<float16>{ones.data(), ones.data()});
  cache.store(on.backend, {1}, batch.batch(), cuda::new_rows<float16>{threes.data(), ones.data()});
  average.add(cache.sequence(id));
  cuda::device_buffer<std::byte> scratch(on.stream,
                                         cuda::distances_scratch_bytes(on.properties, average, engine::metric{}));
  const cuda::backend with_scratch{on.stream, on.properties, scratch.data(), scratch.bytes(), on.status.data()};
  const auto distances = cuda::layer_distances(with_scratch, average, engine::metric{});
  CHECK(distances({{1}, {0}}) == 8.0);  // half of what the keys' rows differ: 64 channels by 2
}
