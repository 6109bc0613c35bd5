// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/adapt/rows.hpp"

#include "adapt/cache_checks.hpp"

using namespace adapt_test;

TEST_CASE_TEMPLATE("one sequence of a batch, [batch][kv_head][token][channel] of each layer", E, float, float16,
                   bfloat16) {
  const auto written = [](part which) {
    return layer_list<E>([=](std::vector<E>& memory, index_t l) {
      for (index_t b = 0; b < 3; ++b)
        for (index_t h = 0; h < shape.kv_heads; ++h)
          for (index_t t = 0; t < shape.capacity; ++t)
            for (index_t d = 0; d < shape.head_dim; ++d)
              memory.push_back(b == 1 ? stored<E>(which, l, h, t, d) : nothing<E>());
    });
  };
  const layer_list<E> key_tensors = written(part::keys), value_tensors = written(part::values);
  const std::vector<const E*>&k = key_tensors.list, &v = value_tensors.list;
  const index_t sequence = 1;
  // [batched]
  const auto cache = adapt::cache(shape, length, adapt::batched(adapt::separate{k.data()}, shape, sequence),
                                  adapt::batched(adapt::separate{v.data()}, shape, sequence));
  // [/batched]
  check_cache(cache);
}

TEST_CASE_TEMPLATE("[layer][token][kv_head * head_dim]", E, float, float16, bfloat16) {
  const auto written = [](part which) {
    std::vector<E> memory;
    for (index_t l = 0; l < shape.layers; ++l)
      for (index_t t = 0; t < shape.capacity; ++t)
        for (index_t h = 0; h < shape.kv_heads; ++h)
          for (index_t d = 0; d < shape.head_dim; ++d) memory.push_back(stored<E>(which, l, h, t, d));
    return memory;
  };
  const std::vector<E> key_buffer = written(part::keys), value_buffer = written(part::values);
  const E *k = key_buffer.data(), *v = value_buffer.data();
  // [flat]
  const auto cache = adapt::cache(shape, length, adapt::flat(k, shape), adapt::flat(v, shape));
  // [/flat]
  check_cache(cache);
}

TEST_CASE("[token][layer][keys, values][kv_head][channel]") {
  std::vector<bfloat16> memory;
  for (index_t t = 0; t < shape.capacity; ++t)
    for (index_t l = 0; l < shape.layers; ++l)
      for (const part which : {part::keys, part::values})
        for (index_t h = 0; h < shape.kv_heads; ++h)
          for (index_t d = 0; d < shape.head_dim; ++d) memory.push_back(stored<bfloat16>(which, l, h, t, d));
  const bfloat16* kv = memory.data();
  // [interleaved]
  const auto cache = adapt::cache(shape, length, adapt::interleaved(kv, shape, adapt::part::keys),
                                  adapt::interleaved(kv, shape, adapt::part::values));
  // [/interleaved]
  check_cache(cache);
}

TEST_CASE("a length that there is no room for is refused") {
  const float none = 0;
  const auto made = [&](index_t tokens) {
    adapt::cache(shape, tokens, adapt::flat(&none, shape), adapt::flat(&none, shape));
  };
  CHECK_NOTHROW(made(0));
  CHECK_NOTHROW(made(shape.capacity));
  CHECK_THROWS_WITH_AS(made(shape.capacity + 1), doctest::Contains("room for 11 tokens cannot hold 12"), error);
  CHECK_THROWS_AS(made(-1), error);
}
