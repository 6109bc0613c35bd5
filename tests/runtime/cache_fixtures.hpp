// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "kvsharer/core/element.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/paged.hpp"
#include "kvsharer/runtime/shared_cache.hpp"

namespace cache_fixtures {

using namespace kvsharer;

/// An allocator that tells its ledger what it gave and took back.
struct ledger {
  std::size_t bytes = 0;
  std::size_t allocations = 0;
};
template <class T>
struct counting_allocator {
  using value_type = T;
  ledger* book;
  explicit counting_allocator(ledger* b) : book(b) {}
  template <class U>
  counting_allocator(const counting_allocator<U>& other) : book(other.book) {}
  T* allocate(std::size_t n) {
    book->bytes += n * sizeof(T);
    ++book->allocations;
    return std::allocator<T>{}.allocate(n);
  }
  void deallocate(T* p, std::size_t n) {
    book->bytes -= n * sizeof(T);
    std::allocator<T>{}.deallocate(p, n);
  }
  template <class U>
  bool operator==(const counting_allocator<U>& other) const {
    return book == other.book;
  }
};

/// Channels are not neighbours: [kv_head][channel][token], as some engines keep values. Proves that the cache asks a
/// layout for no more than CacheLayout says.
struct channel_major {
  struct index_type {
    index_t capacity = 0, dim = 0, base = 0;
    static constexpr bool rows_contiguous = false;
    constexpr index_t offset(index_t h, index_t t, index_t c) const { return base + (h * dim + c) * capacity + t; }
  };
  index_t page_tokens(cache_shape s) const { return s.capacity; }
  index_type index(cache_shape s, const std::int32_t* pages) const {
    return {s.capacity, s.head_dim, pages[0] * s.kv_heads * s.capacity * s.head_dim};
  }
  const char* name() const { return "channel-major"; }
};
static_assert(CacheLayout<channel_major>);

template <class Layout>
Layout make_layout() {
  if constexpr (std::is_same_v<Layout, layout::paged<>>)
    return {3};
  else
    return {};
}

inline share_map map_of(std::vector<int> owners) { return share_map::from_owners(owners).value(); }

/// Rows [token][kv_heads * head_dim] of numbers that no rounding leaves alone and that differ by `seed`.
inline std::vector<float> rows(cache_shape s, index_t tokens, int seed) {
  std::vector<float> r(static_cast<std::size_t>(tokens * s.kv_heads * s.head_dim));
  std::uint32_t state = 0x9e3779b9u * static_cast<std::uint32_t>(seed + 1);
  for (float& x : r) {
    state = state * 1664525u + 1013904223u;
    x = (static_cast<float>(state >> 8) / 8388608.0f - 1.0f) * 3.0f;
  }
  return r;
}

/// The number that a refusal carries, or 0 when `f` is not refused.
template <class F>
int refused(F&& f) {
  try {
    f();
  } catch (const error& e) {
    return static_cast<int>(e.code());
  }
  return 0;
}
#define CHECK_REFUSED(code, ...) \
  CHECK(::cache_fixtures::refused([&] { __VA_ARGS__; }) == static_cast<int>(::kvsharer::errc::code))

template <class E, class Layout>
struct combination {
  using element = E;
  using layout_type = Layout;
  using cache = shared_cache<E, Layout>;
  template <class L>
  using cache_of = shared_cache<E, L>;
  using counted_cache = shared_cache<E, Layout, counting_allocator<std::byte>>;
};
/// Every layout and every element, each in more than one combination; a layout does not look at elements.
#define ALL_COMBINATIONS                                                              \
  cache_fixtures::combination<float, kvsharer::layout::head_major>,                   \
      cache_fixtures::combination<float, kvsharer::layout::paged<>>,                  \
      cache_fixtures::combination<float, cache_fixtures::channel_major>,              \
      cache_fixtures::combination<kvsharer::float16, kvsharer::layout::token_major>,  \
      cache_fixtures::combination<kvsharer::float16, kvsharer::layout::paged<16>>,    \
      cache_fixtures::combination<kvsharer::bfloat16, kvsharer::layout::paged<>>,     \
      cache_fixtures::combination<kvsharer::bfloat16, cache_fixtures::channel_major>, \
      cache_fixtures::combination<kvsharer::float16, kvsharer::layout::head_major>,   \
      cache_fixtures::combination<kvsharer::bfloat16, kvsharer::layout::token_major>

}  // namespace cache_fixtures
