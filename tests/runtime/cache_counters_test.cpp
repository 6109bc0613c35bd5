// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/runtime/cache_counters.hpp"

#include "runtime/cache_fixtures.hpp"
#include "runtime/slow_counters.hpp"

using namespace cache_fixtures;

TEST_CASE("a tiny paged cache, counted by hand") {
  // Two owners, one head of two channels in 4 bytes: a token takes 2 (K, V) * 2 * 2 * 4 = 32 bytes, a page of 4 is 128.
  shared_cache<float, layout::paged<4>> cache(map_of({0, 0, 2}), {3, 1, 2, 16}, {.max_sequences = 3, .pages = 8});
  CHECK(cache.counters() == cache_counters{.pages = 8});
  CHECK(cache.counters().fragmentation() == 0);

  const auto a = cache.create();
  cache.append(a, 6);
  CHECK(cache.counters() == cache_counters{.sequences = 1,
                                           .tokens = 6,
                                           .pages = 8,
                                           .pages_in_use = 2,
                                           .pages_at_peak = 2,
                                           .slots_in_use = 8,
                                           .slots_empty = 2,
                                           .logical = 192,
                                           .physical = 256,
                                           .peak = 256});
  CHECK(cache.counters().fragmentation() == 0.25);

  const auto b = cache.fork(a);
  cache.truncate(b, 5);  // the second page holds two tokens still, for a
  CHECK(cache.counters() == cache_counters{.sequences = 2,
                                           .tokens = 11,
                                           .pages = 8,
                                           .pages_in_use = 2,
                                           .pages_shared = 2,
                                           .pages_at_peak = 2,
                                           .slots_in_use = 8,
                                           .slots_empty = 2,
                                           .logical = 352,
                                           .physical = 256,
                                           .peak = 256});

  cache.append(b, 4);  // a copy of the second page, which b fills, and a third with one token
  CHECK(cache.counters() == cache_counters{.sequences = 2,
                                           .tokens = 15,
                                           .pages = 8,
                                           .pages_in_use = 4,
                                           .pages_shared = 1,
                                           .pages_at_peak = 4,
                                           .slots_in_use = 16,
                                           .slots_empty = 2 + 3,
                                           .logical = 480,
                                           .physical = 512,
                                           .peak = 512});
  cache.drop(b);
  cache.drop(a);
  CHECK(cache.counters() == cache_counters{.pages = 8, .pages_at_peak = 4, .peak = 512});
}

TEST_CASE("under a contiguous layout a page is a sequence's room") {
  shared_cache<float> cache(map_of({0, 0}), {2, 1, 2, 10}, {.max_sequences = 3});
  const auto a = cache.create();
  cache.append(a, 4);
  cache.create();  // holds nothing yet
  const auto c = cache.counters();
  CHECK(c.sequences == 2);
  CHECK(c.pages == 3);
  CHECK(c.pages_in_use == 1);
  CHECK(c.slots_empty == 6);
  CHECK(c.logical == 4 * 16);
  CHECK(c.physical == 10 * 16);
  CHECK(c.physical == cache.footprint().held);
  CHECK(c.logical == cache.footprint().logical);
}

TEST_CASE("several forks of a partly filled page are one page with one rest") {
  shared_cache<float, layout::paged<8>> cache(share_map::identity(1), {1, 1, 1, 16}, {.max_sequences = 5});
  const auto a = cache.create();
  cache.append(a, 3);
  const auto b = cache.fork(a), c = cache.fork(a), d = cache.fork(a);
  CHECK(cache.counters().slots_empty == 5);
  cache.truncate(a, 1);
  cache.truncate(b, 2);
  CHECK(cache.counters().slots_empty == 5);  // c and d have three still
  cache.drop(c);
  cache.drop(d);
  CHECK(cache.counters().slots_empty == 6);
  cache.drop(b);
  CHECK(cache.counters().slots_empty == 7);
  CHECK(cache.counters().pages_shared == 0);
  CHECK(cache.counters() == slow_counters(cache, {a}, 8, 1));
}
