// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/adapt/channels.hpp"

#include "adapt/cache_checks.hpp"
#include "kvsharer/adapt/rows.hpp"

using namespace adapt_test;

namespace {

template <class E>
layer_list<E> values_by_channel() {
  return layer_list<E>([](std::vector<E>& memory, index_t l) {
    for (index_t h = 0; h < shape.kv_heads; ++h)
      for (index_t d = 0; d < shape.head_dim; ++d)
        for (index_t t = 0; t < shape.capacity; ++t) memory.push_back(stored<E>(part::values, l, h, t, d));
  });
}

template <class E>
layer_list<E> keys_in_tiles(index_t tile) {
  return layer_list<E>([=](std::vector<E>& memory, index_t l) {
    for (index_t h = 0; h < shape.kv_heads; ++h)
      for (index_t block = 0; block < shape.head_dim / tile; ++block)
        for (index_t t = 0; t < shape.capacity; ++t)
          for (index_t d = 0; d < tile; ++d) memory.push_back(stored<E>(part::keys, l, h, t, block * tile + d));
  });
}

}  // namespace

TEST_CASE("values transposed, [kv_head * head_dim][token], and keys as they are") {
  std::vector<float16> key_buffer;
  for (index_t l = 0; l < shape.layers; ++l)
    for (index_t t = 0; t < shape.capacity; ++t)
      for (index_t h = 0; h < shape.kv_heads; ++h)
        for (index_t d = 0; d < shape.head_dim; ++d) key_buffer.push_back(stored<float16>(part::keys, l, h, t, d));
  const auto value_buffers = values_by_channel<float16>();
  const float16* k = key_buffer.data();
  const std::vector<const float16*>& v = value_buffers.list;
  // [transposed]
  const auto cache =
      adapt::cache(shape, length, adapt::flat(k, shape), adapt::transposed(adapt::separate{v.data()}, shape));
  static_assert(!RowContiguousView<decltype(cache.values(layer_id{}))>);
  // [/transposed]
  check_cache(cache);
}

TEST_CASE_TEMPLATE("keys in tiles of 16 channels and values transposed", E, float, bfloat16) {
  const auto key_buffers = keys_in_tiles<E>(16);
  const auto value_buffers = values_by_channel<E>();
  const std::vector<const E*>&k = key_buffers.list, &v = value_buffers.list;
  // [tiled]
  const auto cache = adapt::cache(shape, length, adapt::tiled(adapt::separate{k.data()}, shape, 16),
                                  adapt::transposed(adapt::separate{v.data()}, shape));
  // [/tiled]
  check_cache(cache);
}

TEST_CASE("tiles inside pages: keys [page][kv_head][head_dim / 8][token][8], values [page][kv_head][channel][token]") {
  const std::vector<std::int32_t> table{2, 0, 3};
  const index_t page_tokens = 4;
  const auto pages = [&](part which, index_t tile) {
    return layer_list<float16>([=, &table](std::vector<float16>& memory, index_t l) {
      for (index_t page = 0; page < 4; ++page)
        for (index_t h = 0; h < shape.kv_heads; ++h)
          for (index_t block = 0; block < shape.head_dim / tile; ++block)
            for (index_t slot = 0; slot < page_tokens; ++slot)
              for (index_t d = 0; d < tile; ++d) {
                index_t token = length;  // nobody's
                for (std::size_t i = 0; i < table.size(); ++i)
                  if (table[i] == page) token = static_cast<index_t>(i) * page_tokens + slot;
                memory.push_back(stored<float16>(which, l, h, token, block * tile + d));
              }
    });
  };
  const auto key_pools = pages(part::keys, 8), value_pools = pages(part::values, 1);
  const std::vector<const float16*>&k = key_pools.list, &v = value_pools.list;
  // [tiled_pages]
  const layout::page_table blocks{table.data(), page_tokens};
  const auto cache = adapt::cache(shape, length, adapt::tiled_pages(adapt::separate{k.data()}, shape, blocks, 8),
                                  adapt::tiled_pages(adapt::separate{v.data()}, shape, blocks, 1));
  // [/tiled_pages]
  check_cache(cache);
}

TEST_CASE("a tile that does not divide head_dim is refused") {
  const float none = 0;
  const auto made = [&](index_t tile) { adapt::tiled(adapt::stacked{&none, 0}, shape, tile); };
  CHECK_NOTHROW(made(1));
  CHECK_NOTHROW(made(32));
  CHECK_THROWS_WITH_AS(made(12), doctest::Contains("tiles of 12 channels"), error);
  CHECK_THROWS_AS(made(0), error);
}
