// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/runtime/footprint.hpp"

#include "runtime/cache_fixtures.hpp"

using namespace cache_fixtures;

TEST_CASE("bytes per token of known models, full and with a quarter of the layers reading") {
  struct model {
    int layers, kv_heads;
    std::size_t full, quarter;
  };
  // Llama-2-7B, Llama-2-13B, Llama-3.1-8B, Llama-2-70B; head_dim 128, 16-bit elements.
  for (const model m : {model{32, 32, 524288, 393216}, model{40, 40, 819200, 614400}, model{32, 8, 131072, 98304},
                        model{80, 8, 327680, 245760}}) {
    const cache_shape shape{m.layers, m.kv_heads, 128, 4096};
    CHECK(kv_bytes(m.layers, shape, sizeof(float16)) == m.full);
    CHECK(kv_bytes(m.layers - m.layers / 4, shape, sizeof(bfloat16)) == m.quarter);
    CHECK(kv_bytes(m.layers, shape, sizeof(float), 4096) == 2 * 4096 * m.full);
  }
}

TEST_CASE("readers allocate nothing: keys and values scale with the number of owners alone") {
  const cache_shape shape{6, 2, 4, 10};
  const std::vector<std::vector<int>> maps{
      {0, 1, 2, 3, 4, 5}, {0, 1, 2, 3, 4, 3}, {0, 1, 0, 1, 4, 1}, {0, 0, 0, 0, 0, 0}};
  const std::size_t owners[] = {6, 5, 3, 1};
  for (std::size_t i = 0; i < maps.size(); ++i) {
    const share_map map = map_of(maps[i]);
    shared_cache<float16> cache(map, shape, {.max_sequences = 2});
    const auto f = cache.footprint();
    // owners x sequences x heads x tokens x channels x bytes
    CHECK(f.keys == owners[i] * 2 * 2 * 10 * 4 * 2);
    CHECK(f.values == f.keys);
    CHECK(f.keys + f.values == kv_bytes(map, shape, sizeof(float16), 20));
    CHECK(f.block_tables ==
          shared_cache<float16>(share_map::identity(6), shape, {.max_sequences = 2}).footprint().block_tables);
  }
}

TEST_CASE("held and logical bytes tell sharing of pages from waste within them") {
  const share_map map = map_of({0, 0, 2});
  const cache_shape shape{3, 1, 2, 16};
  shared_cache<float, layout::paged<4>> cache(map, shape, {.max_sequences = 2});
  const std::size_t token = 2 * 2 * 2 * 4;  // K and V, owners, channels, bytes
  CHECK(cache.footprint().held == 0);
  const auto a = cache.create();
  cache.append(a, 5);
  CHECK(cache.footprint().held == 8 * token);
  CHECK(cache.footprint().logical == 5 * token);
  cache.fork(a);
  CHECK(cache.footprint().held == 8 * token);
  CHECK(cache.footprint().logical == 10 * token);
  cache.clear();
  CHECK(cache.footprint().held == 0);
  CHECK(cache.footprint().logical == 0);
}
