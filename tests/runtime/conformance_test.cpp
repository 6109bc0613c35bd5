// SPDX-License-Identifier: Apache-2.0
// What holds for every element type under every layout.
#include <cstring>

#include "runtime/cache_fixtures.hpp"

#define CACHES ALL_COMBINATIONS
#include "runtime/conformance.hpp"

TEST_CASE_TEMPLATE("footprint is what the allocator gave, and nothing is allocated after construction", C,
                   ALL_COMBINATIONS) {
  ledger book;
  {
    typename C::counted_cache cache(map, shape, {.max_sequences = 3, .tag = "a tag too long for a small string"},
                                    make_layout<typename C::layout_type>(), counting_allocator<std::byte>(&book));
    CHECK(cache.footprint().total() == book.bytes);
    const std::size_t allocations = book.allocations;
    const auto a = cache.create();
    const auto* plane = cache.key_plane({4}).data();
    feed(cache, a, 6, 1);
    const auto b = cache.fork(a);
    feed(cache, b, 1, 2);
    cache.truncate(a, 2);
    std::stringstream bytes;
    cache.save(b, bytes);
    cache.restore(bytes);
    cache.drop(a);
    cache.clear();
    CHECK(book.allocations == allocations);
    CHECK(cache.footprint().total() == book.bytes);
    CHECK(cache.key_plane({4}).data() == plane);

    const auto moved = std::move(cache);
    CHECK(moved.key_plane({4}).data() == plane);
    CHECK(book.allocations == allocations);
    CHECK(moved.footprint().total() == book.bytes);
  }
  CHECK(book.bytes == 0);
}

TEST_CASE_TEMPLATE("every layout shows the same numbers bit for bit", E, float, float16, bfloat16) {
  shared_cache<E, layout::head_major> heads(map, shape);
  shared_cache<E, layout::token_major> tokens(map, shape);
  shared_cache<E, layout::paged<16>> sixteens(map, shape);
  shared_cache<E, layout::paged<>> threes(map, shape, {}, {3});
  const auto fill = [](auto& cache) {
    const auto id = cache.create();
    feed(cache, id, 9, 1);
    feed(cache, id, 1, 2);
    feed(cache, id, 8, 3);
    return cache.sequence(id);
  };
  const auto h = fill(heads);
  const auto t = fill(tokens);
  const auto p = fill(sixteens);
  const auto d = fill(threes);
  const auto same = [](const auto& x, const auto& y) {
    for (index_t head = 0; head < shape.kv_heads; ++head)
      for (index_t token = 0; token < 18; ++token)
        if (std::memcmp(x.row(head, token), y.row(head, token), static_cast<std::size_t>(shape.head_dim) * sizeof(E)) !=
            0)
          return false;
    return true;
  };
  for (int l = 0; l < 5; ++l) {
    CHECK(same(h.keys({l}), t.keys({l})));
    CHECK(same(h.keys({l}), p.keys({l})));
    CHECK(same(h.keys({l}), d.keys({l})));
    CHECK(same(h.values({l}), t.values({l})));
    CHECK(same(h.values({l}), p.values({l})));
    CHECK(same(h.values({l}), d.values({l})));
  }
}
