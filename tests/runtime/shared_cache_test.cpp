// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/runtime/shared_cache.hpp"

#include <limits>
#include <sstream>
#include <utility>

#include "runtime/cache_fixtures.hpp"

using namespace cache_fixtures;

namespace {

const cache_shape shape{.layers = 3, .kv_heads = 1, .head_dim = 2, .capacity = 8};
const share_map map = map_of({0, 0, 2});

using paged_cache = shared_cache<float, layout::paged<4>>;

void store_all(paged_cache& cache, sequence_id id, index_t first, index_t tokens, int seed) {
  const auto k = rows(shape, tokens, seed), v = rows(shape, tokens, seed + 1);
  for (const layer_id l : {layer_id{0}, layer_id{2}}) cache.store(l, id, first, tokens, k.data(), v.data());
}

}  // namespace

TEST_CASE("a cache of impossible sizes is refused when it is made") {
  CHECK_REFUSED(bad_shape, shared_cache<>(share_map::identity(2), shape));
  CHECK_REFUSED(bad_shape, shared_cache<>(share_map(), {0, 1, 2, 8}));
  CHECK_REFUSED(bad_shape, shared_cache<>(map, {3, 0, 2, 8}));
  CHECK_REFUSED(bad_shape, shared_cache<>(map, {3, 1, 0, 8}));
  CHECK_REFUSED(bad_shape, shared_cache<>(map, {3, 1, 2, 0}));
  CHECK_REFUSED(bad_argument, shared_cache<>(map, shape, {.max_sequences = 0}));
  CHECK_REFUSED(bad_argument, shared_cache<>(map, shape, {.max_sequences = index_t{1} << 31}));
  CHECK_REFUSED(bad_argument, shared_cache<>(map, shape, {.pages = -1}));
  CHECK_REFUSED(bad_argument, shared_cache<float, layout::paged<>>(map, shape, {}, {0}));
  CHECK_REFUSED(bad_argument, shared_cache<float, layout::paged<>>(map, shape, {}, {-4}));
  // Products that pass 64 bits, each at another factor.
  constexpr index_t huge = index_t{1} << 31;
  CHECK_REFUSED(bad_shape, shared_cache<>(map, {3, huge, huge, huge}));
  CHECK_REFUSED(bad_shape, shared_cache<>(map, {3, 1, 2, index_t{1} << 60}));
  CHECK_REFUSED(bad_shape, paged_cache(map, {3, 1, 2, index_t{1} << 62}, {.max_sequences = 1000}));
  CHECK_REFUSED(bad_shape, paged_cache(map, {3, 1, 2, index_t{1} << 40}));  // pages do not fit 31 bits
  CHECK_REFUSED(bad_shape, paged_cache(map, shape, {.pages = index_t{1} << 31}));
}

TEST_CASE("ids of dropped sequences stay refused when their place is taken") {
  paged_cache cache(map, shape, {.max_sequences = 2});
  const auto a = cache.create();
  cache.drop(a);
  const auto b = cache.create(), c = cache.create();
  CHECK(b != a);
  CHECK(c != a);
  CHECK_FALSE(cache.alive(a));
  CHECK(cache.alive(b));
  const std::vector<float> row{1, 2};
  std::ostringstream out;
  for (const sequence_id gone : {a, sequence_id{}, sequence_id{-7}, sequence_id{1000}}) {
    CHECK_REFUSED(unknown_sequence, cache.length(gone));
    CHECK_REFUSED(unknown_sequence, cache.next_position(gone));
    CHECK_REFUSED(unknown_sequence, cache.append(gone, 1));
    CHECK_REFUSED(unknown_sequence, cache.store({0}, gone, 0, 0, row.data(), row.data()));
    CHECK_REFUSED(unknown_sequence, cache.truncate(gone, 0));
    CHECK_REFUSED(unknown_sequence, cache.fork(gone));
    CHECK_REFUSED(unknown_sequence, cache.drop(gone));
    CHECK_REFUSED(unknown_sequence, cache.keys({0}, gone));
    CHECK_REFUSED(unknown_sequence, cache.values({0}, gone));
    CHECK_REFUSED(unknown_sequence, cache.sequence(gone));
    CHECK_REFUSED(unknown_sequence, cache.block_table(gone));
    CHECK_REFUSED(unknown_sequence, cache.save(gone, out));
  }
  CHECK(out.str().empty());
  cache.clear();
  CHECK_FALSE(cache.alive(b));
  CHECK_FALSE(cache.alive(c));
}

TEST_CASE("only owners store, and only tokens that append made") {
  paged_cache cache(map, shape);
  const auto a = cache.create();
  cache.append(a, 3);
  const auto k = rows(shape, 8, 1);
  CHECK(cache.owns({0}));
  CHECK_FALSE(cache.owns({1}));
  CHECK_REFUSED(out_of_range, cache.owns({3}));
  CHECK_REFUSED(out_of_range, cache.owns({-1}));
  CHECK_REFUSED(not_an_owner, cache.store({1}, a, 0, 1, k.data(), k.data()));
  CHECK_REFUSED(out_of_range, cache.store({3}, a, 0, 1, k.data(), k.data()));
  CHECK_REFUSED(out_of_range, cache.store({0}, a, 0, 4, k.data(), k.data()));
  CHECK_REFUSED(out_of_range, cache.store({0}, a, -1, 1, k.data(), k.data()));
  CHECK_REFUSED(out_of_range, cache.store({0}, a, 1, -1, k.data(), k.data()));
  CHECK_REFUSED(out_of_range, cache.store({0}, a, 4, 0, k.data(), k.data()));
  CHECK_REFUSED(out_of_range, cache.store({0}, a, 1, std::numeric_limits<index_t>::max(), k.data(), k.data()));
  CHECK_REFUSED(out_of_range, cache.keys({3}, a));
  CHECK_REFUSED(out_of_range, cache.values({-1}, a));
  CHECK_REFUSED(out_of_range, cache.key_plane({3}));
  CHECK_REFUSED(out_of_range, cache.truncate(a, 4));
  CHECK_REFUSED(out_of_range, cache.truncate(a, -1));
  CHECK_REFUSED(bad_argument, cache.append(a, -1));
  for (index_t t = 0; t < 3; ++t) CHECK(cache.keys({0}, a).at(0, t, 0) == 0.0f);
}

TEST_CASE("a page that a fork holds too is not written until the fork lets go") {
  paged_cache cache(map, shape, {.max_sequences = 2});
  const auto a = cache.create();
  cache.append(a, 6);
  store_all(cache, a, 0, 6, 1);
  const auto b = cache.fork(a);
  const auto k = rows(shape, 1, 9);
  const float before = cache.keys({0}, a).at(0, 5, 0);
  CHECK_REFUSED(out_of_range, cache.store({0}, a, 5, 1, k.data(), k.data()));
  CHECK(cache.keys({0}, a).at(0, 5, 0) == before);
  // Growing gives `b` a last page of its own; the first one stays shared.
  CHECK(cache.append(b, 1) == 6);
  cache.store({0}, b, 4, 1, k.data(), k.data());
  CHECK_REFUSED(out_of_range, cache.store({0}, b, 3, 1, k.data(), k.data()));
  CHECK(cache.keys({0}, a).at(0, 4, 0) == rows(shape, 6, 1)[8]);
  cache.drop(b);
  cache.store({0}, a, 3, 1, k.data(), k.data());
  CHECK(cache.keys({1}, a).at(0, 3, 1) == k[1]);
}

TEST_CASE("a batch needs one page fewer when the last fork keeps the shared one") {
  // a and b hold pages 0 and 1, the second partly filled; two pages are free.
  paged_cache cache(map, shape, {.max_sequences = 3, .pages = 3});
  const auto a = cache.create();
  cache.append(a, 6);
  store_all(cache, a, 0, 6, 1);
  const auto b = cache.fork(a);
  CHECK(cache.free_pages() == 1);
  const std::vector<sequence_growth> both{{a, 1}, {b, 2}};
  cache.append(both);
  CHECK(cache.free_pages() == 0);
  CHECK(cache.length(a) == 7);
  CHECK(cache.length(b) == 8);
  CHECK(cache.block_table(a)[0] == cache.block_table(b)[0]);
  CHECK(cache.block_table(a)[1] != cache.block_table(b)[1]);
  for (index_t t = 0; t < 6; ++t) CHECK(cache.keys({2}, a).at(0, t, 1) == cache.keys({2}, b).at(0, t, 1));
  // A third sharer would have needed one more than there is.
  cache.clear();
  const auto d = cache.create();
  cache.append(d, 6);
  const std::vector<sequence_growth> three{{d, 1}, {cache.fork(d), 1}, {cache.fork(d), 1}};
  CHECK_REFUSED(pages_exhausted, cache.append(three));
  for (const auto& g : three) CHECK(cache.length(g.id) == 6);
  CHECK(cache.free_pages() == 1);
  CHECK_REFUSED(out_of_range, cache.store({0}, d, 5, 1, rows(shape, 1, 0).data(), rows(shape, 1, 0).data()));
}

TEST_CASE("a sequence may occur twice in a batch, and growing by nothing takes nothing") {
  paged_cache cache(map, shape);
  const auto a = cache.create();
  const std::vector<sequence_growth> twice{{a, 0}, {a, 3}, {a, 2}};
  cache.append(twice);
  CHECK(cache.length(a) == 5);
  CHECK(cache.append(a, 0) == 5);
  cache.append(std::span<const sequence_growth>{});
  const std::vector<sequence_growth> over{{a, 2}, {a, 2}};
  CHECK_REFUSED(capacity_exceeded, cache.append(over));
  CHECK(cache.append(a, 3) == 5);
}

TEST_CASE("append by nothing to a fork copies nothing") {
  paged_cache cache(map, shape, {.max_sequences = 2, .pages = 1});
  const auto a = cache.create();
  cache.append(a, 3);
  const auto b = cache.fork(a);
  CHECK(cache.append(b, 0) == 3);
  CHECK(cache.block_table(a)[0] == cache.block_table(b)[0]);
  CHECK_REFUSED(pages_exhausted, cache.append(b, 1));
  cache.drop(a);
  CHECK(cache.append(b, 1) == 3);  // the only holder writes in place
}

TEST_CASE("planes and block tables lead to the same rows as views") {
  paged_cache cache(map, shape, {.max_sequences = 2});
  const auto a = cache.create(), b = cache.create();
  cache.append(a, 1);
  cache.append(b, 7);
  store_all(cache, b, 0, 7, 5);
  CHECK(cache.page_tokens() == 4);
  CHECK(cache.page_elements() == 8);
  CHECK(static_cast<index_t>(cache.key_plane({2}).size()) == cache.pages() * cache.page_elements());
  CHECK(cache.key_plane({1}).data() == cache.key_plane({0}).data());
  CHECK(cache.key_plane({2}).data() == cache.key_plane({0}).data() + cache.pages() * cache.page_elements());
  const auto page = static_cast<std::size_t>(cache.block_table(b)[1]);
  CHECK(cache.value_plane({2})[page * 8 + 2 * 2 + 1] == cache.values({2}, b).at(0, 6, 1));
}

TEST_CASE("what was moved from refuses") {
  paged_cache cache(map, shape);
  const auto a = cache.create();
  const paged_cache moved = std::move(cache);
  CHECK(moved.length(a) == 0);
  CHECK_REFUSED(unknown_sequence, cache.length(a));
  CHECK_REFUSED(sequences_exhausted, cache.create());
  cache.clear();
  CHECK(cache.footprint().total() == 0);
}
