// SPDX-License-Identifier: Apache-2.0
// Replaces the global operator new to see that running a cache takes memory from nobody.
#include <cstdlib>
#include <new>
#include <vector>

#include "runtime/cache_fixtures.hpp"

namespace {
std::size_t allocations = 0;
}

// Not inlined, or g++ takes malloc and free for a mismatch of new and delete.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* p = std::malloc(bytes)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

using namespace cache_fixtures;

TEST_CASE_TEMPLATE("append, store, fork, keep, truncate, drop and views allocate nothing", C, ALL_COMBINATIONS) {
  const cache_shape shape{4, 2, 8, 12};
  typename C::cache cache(map_of({0, 1, 0, 1}), shape, {.max_sequences = 3, .positions = true},
                          make_layout<typename C::layout_type>());
  const auto k = rows(shape, 12, 1);
  const std::vector<index_t> kept{0, 2, 3};
  std::size_t before = allocations;
  ::operator delete(::operator new(1));
  CHECK(allocations == before + 1);  // it does count

  before = allocations;
  const auto a = cache.create(), b = cache.create();
  const sequence_growth batch[] = {{a, 5}, {b, 7}};
  cache.append(batch);
  cache.store({1}, a, 0, 5, k.data(), k.data());
  const auto c = cache.fork(a);
  cache.append(c, 3);
  cache.store({0}, c, 5, 3, k.data(), k.data());
  cache.truncate(b, 4);
  cache.keep(b, kept);
  const float seen = cache.sequence(c).values({3}).at(1, 4, 7);
  const auto f = cache.footprint();
  const auto used = cache.counters();
  cache.drop(a);
  cache.clear();
  CHECK(allocations == before);
  CHECK(seen != 0.0f);
  CHECK(f.total() > 0);
  CHECK(used.sequences == 3);
}
