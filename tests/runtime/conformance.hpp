// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <sstream>
#include <vector>

#include "runtime/cache_fixtures.hpp"

/// What holds for every cache, on the host and on the device: a test program says which by defining CACHES, a list of
/// types like cache_fixtures::combination, before it includes this.
using namespace cache_fixtures;

namespace {

const cache_shape shape{.layers = 5, .kv_heads = 2, .head_dim = 8, .capacity = 20};
const share_map map = map_of({0, 1, 0, 1, 4});
/// Layer 1 stores keys alone, 2 values alone, 3 neither.
const share_plan apart(map_of({0, 1, 0, 1, 4}), map_of({0, 0, 2, 2, 4}));

template <class C>
auto make_cache(index_t sequences = 4, index_t pages = 0, const share_plan& plan = map, bool positions = false) {
  return typename C::cache(plan, shape,
                           {.max_sequences = sequences, .pages = pages, .tag = "model", .positions = positions},
                           make_layout<typename C::layout_type>());
}

/// Appends `tokens` and stores rows of `seed` (keys) and seed + 1000 (values), offset by 10 for each owner; what a
/// layer does not own is not given.
template <class Cache>
void feed(Cache& cache, sequence_id id, index_t tokens, int seed) {
  const index_t first = cache.append(id, tokens);
  for (int l = 0; l < 5; ++l)
    if (cache.owns({l}))
      cache.store({l}, id, first, tokens, cache.owns_keys({l}) ? rows(shape, tokens, seed + 10 * l).data() : nullptr,
                  cache.owns_values({l}) ? rows(shape, tokens, seed + 1000 + 10 * l).data() : nullptr);
}

/// Does the view show, from token `first` on, `expected` rounded to E?
template <class E, class View>
bool shows(const View& view, index_t first, const std::vector<float>& expected) {
  const index_t row = shape.kv_heads * shape.head_dim;
  for (index_t i = 0; i < static_cast<index_t>(expected.size()); ++i) {
    const index_t in_row = i % row;
    const float stored = view.at(in_row / shape.head_dim, first + i / row, in_row % shape.head_dim);
    if (stored != static_cast<float>(E(expected[static_cast<std::size_t>(i)]))) return false;
  }
  return true;
}
template <class Cache>
bool fed(const Cache& cache, sequence_id id, index_t first, index_t tokens, int seed, index_t visible,
         const share_plan& plan = map) {
  using E = typename Cache::element_type;
  const auto cut = [&](std::vector<float> r) {
    r.resize(static_cast<std::size_t>(visible * shape.kv_heads * shape.head_dim));
    return r;
  };
  for (int l = 0; l < 5; ++l) {
    const int keys_of = plan.key_owner({l}).value, values_of = plan.value_owner({l}).value;
    if (!shows<E>(cache.keys({l}, id), first, cut(rows(shape, tokens, seed + 10 * keys_of)))) return false;
    if (!shows<E>(cache.values({l}, id), first, cut(rows(shape, tokens, seed + 1000 + 10 * values_of)))) return false;
  }
  return true;
}
template <class Cache>
bool fed(const Cache& cache, sequence_id id, index_t first, index_t tokens, int seed) {
  return fed(cache, id, first, tokens, seed, tokens);
}

}  // namespace

TEST_CASE_TEMPLATE("readers see what was stored in their owners, chunk by chunk", C, CACHES) {
  auto cache = make_cache<C>();
  const auto a = cache.create(), b = cache.create();
  feed(cache, a, 5, 1);
  feed(cache, b, 7, 2);
  feed(cache, a, 1, 3);
  feed(cache, a, 14, 4);
  CHECK(cache.length(a) == 20);
  CHECK(cache.length(b) == 7);
  CHECK(cache.next_position(a) == 20);
  CHECK(fed(cache, a, 0, 5, 1));
  CHECK(fed(cache, a, 5, 1, 3));
  CHECK(fed(cache, a, 6, 14, 4));
  CHECK(fed(cache, b, 0, 7, 2));
  CHECK_FALSE(fed(cache, b, 0, 7, 1));  // the oracle can tell
  CHECK(cache.sequence(a).length() == 20);
  CHECK(cache.sequence(a).keys({2}).at(1, 5, 2) == cache.keys({0}, a).at(1, 5, 2));
}

TEST_CASE_TEMPLATE("forks share until one of them grows", C, CACHES) {
  auto cache = make_cache<C>();
  const auto a = cache.create();
  feed(cache, a, 5, 1);
  const index_t free = cache.free_pages();
  const auto b = cache.fork(a), c = cache.fork(b);
  CHECK(cache.free_pages() == free);
  feed(cache, b, 2, 2);
  feed(cache, a, 3, 3);
  feed(cache, c, 1, 4);
  for (const auto id : {a, b, c}) CHECK(fed(cache, id, 0, 5, 1));
  CHECK(fed(cache, b, 5, 2, 2));
  CHECK(fed(cache, a, 5, 3, 3));
  CHECK(fed(cache, c, 5, 1, 4));
  cache.drop(a);
  CHECK(fed(cache, b, 0, 5, 1));
  CHECK(fed(cache, b, 5, 2, 2));
  cache.drop(b);
  cache.drop(c);
  CHECK(cache.free_pages() == cache.pages());
}

TEST_CASE_TEMPLATE("a truncated sequence grows again, apart from its fork", C, CACHES) {
  auto cache = make_cache<C>();
  const auto a = cache.create();
  feed(cache, a, 11, 1);
  const auto b = cache.fork(a);
  cache.truncate(a, 4);
  CHECK(cache.next_position(a) == 4);
  feed(cache, a, 6, 2);
  CHECK(fed(cache, a, 0, 11, 1, 4));
  CHECK(fed(cache, a, 4, 6, 2));
  CHECK(fed(cache, b, 0, 11, 1));
  cache.truncate(a, 0);
  for (const auto page : cache.block_table(a)) CHECK(page == 0);
  feed(cache, a, 2, 3);
  CHECK(fed(cache, a, 0, 2, 3));
}

TEST_CASE_TEMPLATE("kept tokens move down and keep their positions", C, CACHES) {
  auto cache = make_cache<C>(4, 0, map, true);
  const auto a = cache.create();
  for (int token = 0; token < 14; ++token) feed(cache, a, 1, token);  // each with a seed of its own
  const auto fork = cache.fork(a);
  const std::vector<index_t> slots{0, 1, 4, 5, 9, 12};
  cache.keep(a, slots);
  CHECK(cache.length(a) == 6);
  CHECK(cache.next_position(a) == 14);
  for (index_t i = 0; i < 6; ++i) {
    const index_t was = slots[static_cast<std::size_t>(i)];
    CHECK(cache.position(a, i) == was);
    CHECK(fed(cache, a, i, 1, static_cast<int>(was)));
  }
  for (int token = 0; token < 14; ++token) CHECK(fed(cache, fork, token, 1, token));
  CHECK(cache.next_position(fork) == 14);
  CHECK(cache.position(fork, 13) == 13);

  feed(cache, a, 3, 50);
  CHECK(cache.position(a, 6) == 14);
  CHECK(cache.next_position(a) == 17);
  std::stringstream bytes;  // holes are saved with it
  cache.save(a, bytes);
  cache.truncate(a, 7);
  CHECK(cache.next_position(a) == 15);
  cache.truncate(a, 5);  // the next token takes the place of the first that went, which is not slot 5 nor behind slot 4
  CHECK(cache.next_position(a) == 12);
  feed(cache, a, 1, 60);
  CHECK(cache.position(a, 5) == 12);
  CHECK(fed(cache, a, 4, 1, 9));
  CHECK(fed(cache, a, 5, 1, 60));

  const auto back = cache.restore(bytes);
  CHECK(cache.length(back) == 9);
  CHECK(cache.next_position(back) == 17);
  CHECK(cache.position(back, 5) == 12);
  CHECK(cache.position(back, 8) == 16);
  CHECK(fed(cache, back, 5, 1, 12));
  CHECK(fed(cache, back, 6, 3, 50));
  auto plain = make_cache<C>();
  bytes.seekg(0);
  CHECK_REFUSED(bad_stream, plain.restore(bytes));
  CHECK(plain.free_pages() == plain.pages());

  cache.keep(a, {});
  CHECK(cache.length(a) == 0);
  CHECK(cache.next_position(a) == 13);
  cache.truncate(a, 0);
  CHECK(cache.next_position(a) == 13);
}

TEST_CASE_TEMPLATE("tokens are kept as asked or not at all", C, CACHES) {
  auto cache = make_cache<C>(2, 0, map, true);
  const auto a = cache.create();
  for (int token = 0; token < 14; ++token) feed(cache, a, 1, token);
  const auto refused = [&](int code, std::vector<index_t> slots) {
    const auto before = cache.footprint();
    CHECK(cache_fixtures::refused([&] { cache.keep(a, slots); }) == code);
    CHECK(cache.footprint() == before);
    CHECK(cache.length(a) == 14);
    for (int token = 0; token < 14; ++token) CHECK(fed(cache, a, token, 1, token));
  };
  const int out_of_range = static_cast<int>(errc::out_of_range);
  refused(out_of_range, {14});
  refused(out_of_range, {-1, 2});
  refused(out_of_range, {3, 3});
  refused(out_of_range, {5, 4});
  CHECK_REFUSED(unknown_sequence, cache.keep({77}, std::vector<index_t>{}));
  CHECK_REFUSED(out_of_range, cache.position(a, 14));
  CHECK_REFUSED(out_of_range, cache.position(a, -1));

  // As many pages as the sequence has, all of which a fork holds too: none is left for the copy of what changes.
  const index_t size = cache.page_tokens(), blocks = (14 + size - 1) / size;
  auto full = make_cache<C>(2, blocks, map, true);
  const auto b = full.create();
  for (int token = 0; token < 14; ++token) feed(full, b, 1, token);
  const auto fork = full.fork(b);
  CHECK_REFUSED(pages_exhausted, full.keep(b, std::vector<index_t>{1, 2}));
  full.keep(b, std::vector<index_t>{0, 1});  // nothing moves, so nothing is copied
  for (int token = 0; token < 14; ++token) CHECK(fed(full, fork, token, 1, token));

  auto plain = make_cache<C>();
  const auto c = plain.create();
  feed(plain, c, 3, 1);
  CHECK_REFUSED(bad_argument, plain.keep(c, std::vector<index_t>{1}));
  CHECK(plain.position(c, 2) == 2);
}

TEST_CASE_TEMPLATE("a saved sequence comes back, whatever the layout and the capacity", C, CACHES) {
  auto cache = make_cache<C>();
  const auto a = cache.create();
  feed(cache, a, 10, 1);
  std::stringstream bytes;
  cache.save(a, bytes);

  const auto back = cache.restore(bytes);
  CHECK(back != a);
  CHECK(cache.length(back) == 10);
  CHECK(fed(cache, back, 0, 10, 1));

  // The stream does not depend on the layout: another one writes the same bytes, and restores them.
  auto larger = shape;
  larger.capacity = 64;
  typename C::template cache_of<layout::paged<>> other(map, larger, {.tag = "model"}, {4});
  bytes.seekg(0);
  const auto there = other.restore(bytes);
  CHECK(other.next_position(there) == 10);
  CHECK(fed(other, there, 0, 10, 1));
  std::stringstream again;
  other.save(there, again);
  CHECK(again.str() == bytes.str());
}

TEST_CASE_TEMPLATE("keys and values may have owners of their own", C, CACHES) {
  auto cache = make_cache<C>(4, 0, apart);
  const auto a = cache.create();
  feed(cache, a, 5, 1);
  feed(cache, a, 6, 2);
  const auto agrees = [](const auto& c, sequence_id id, index_t first, index_t tokens, int seed) {
    return fed(c, id, first, tokens, seed, tokens, apart);
  };
  CHECK(agrees(cache, a, 0, 5, 1));
  CHECK(agrees(cache, a, 5, 6, 2));
  CHECK_FALSE(fed(cache, a, 0, 5, 1));  // under one map it would look different

  const auto b = cache.fork(a);  // a page is copied in all planes of both pools
  feed(cache, b, 3, 3);
  feed(cache, a, 2, 4);
  for (const auto id : {a, b}) {
    CHECK(agrees(cache, id, 0, 5, 1));
    CHECK(agrees(cache, id, 5, 6, 2));
  }
  CHECK(agrees(cache, b, 11, 3, 3));
  CHECK(agrees(cache, a, 11, 2, 4));

  std::stringstream bytes;
  cache.save(b, bytes);
  CHECK(agrees(cache, cache.restore(bytes), 11, 3, 3));
  typename C::template cache_of<layout::paged<>> other(apart, shape, {.tag = "model"}, {4});
  bytes.seekg(0);
  const auto there = other.restore(bytes);
  CHECK(agrees(other, there, 5, 6, 2));
  CHECK(agrees(other, there, 11, 3, 3));
  for (const share_plan& plan : {share_plan(map), share_plan(apart.values(), apart.keys())}) {
    auto stranger = make_cache<C>(4, 0, plan);
    bytes.seekg(0);
    CHECK_REFUSED(bad_stream, stranger.restore(bytes));
  }

  // Rows that are not given leave what is stored; rows of what another layer stores are refused.
  const auto row = rows(shape, 1, 9);
  const float value = cache.values({4}, b).at(1, 13, 3);
  cache.store({4}, b, 13, 1, row.data(), nullptr);
  CHECK(shows<typename C::element>(cache.keys({4}, b), 13, row));
  CHECK(cache.values({4}, b).at(1, 13, 3) == value);
  CHECK_REFUSED(not_an_owner, cache.store({1}, b, 13, 1, row.data(), row.data()));
  CHECK_REFUSED(not_an_owner, cache.store({1}, b, 13, 1, nullptr, row.data()));
  CHECK_REFUSED(not_an_owner, cache.store({2}, b, 13, 1, row.data(), nullptr));
  CHECK_REFUSED(not_an_owner, cache.store({3}, b, 13, 1, nullptr, nullptr));

  // Six planes of ten: three of keys, three of values.
  const auto f = cache.footprint(), all = make_cache<C>(4, 0, share_map::identity(5)).footprint();
  CHECK(f.keys * 5 == all.keys * 3);
  CHECK(f.values * 5 == all.values * 3);
}

TEST_CASE_TEMPLATE("exhaustion is said before anything changes", C, CACHES) {
  // Pages for 20 tokens in all: one contiguous page, two of 16, seven of 3.
  const index_t per_page = make_cache<C>().page_tokens();
  auto cache = make_cache<C>(3, (20 + per_page - 1) / per_page);
  const auto a = cache.create(), b = cache.create();
  feed(cache, a, 2, 1);
  const auto table = std::vector<std::int32_t>(cache.block_table(a).begin(), cache.block_table(a).end());
  const auto before = cache.footprint();
  const auto unchanged = [&] {
    CHECK(cache.length(a) == 2);
    CHECK(cache.length(b) == 0);
    CHECK(cache.footprint() == before);
    CHECK(std::equal(table.begin(), table.end(), cache.block_table(a).begin()));
    CHECK(fed(cache, a, 0, 2, 1));
  };
  CHECK_REFUSED(capacity_exceeded, cache.append(a, 19));
  unchanged();
  const std::vector<sequence_growth> late{{a, 1}, {b, 1}, {a, 18}};
  CHECK_REFUSED(capacity_exceeded, cache.append(late));
  unchanged();
  const std::vector<sequence_growth> much{{a, 18}, {b, 20}};
  CHECK_REFUSED(pages_exhausted, cache.append(much));
  unchanged();
  const std::vector<sequence_growth> stranger{{a, 1}, {{77}, 1}};
  CHECK_REFUSED(unknown_sequence, cache.append(stranger));
  unchanged();
  const std::vector<sequence_growth> negative{{a, 1}, {b, -1}};
  CHECK_REFUSED(bad_argument, cache.append(negative));
  unchanged();

  const auto c = cache.fork(a);
  CHECK_REFUSED(sequences_exhausted, cache.create());
  CHECK_REFUSED(sequences_exhausted, cache.fork(a));
  cache.drop(c);
  CHECK_REFUSED(unknown_sequence, cache.length(c));
  unchanged();
  cache.append(a, 18);
  CHECK(cache.length(a) == 20);
}
