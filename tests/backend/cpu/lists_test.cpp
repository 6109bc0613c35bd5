// SPDX-License-Identifier: Apache-2.0
// Token sets and KV heads that lose tokens each on its own: attention equals that in which the lost tokens are masked
// for that set and head alone, and pages go back to the pool.
#include <doctest/doctest.h>

#include <cstddef>
#include <sstream>
#include <vector>

#include "backend/holes.hpp"
#include "kvsharer/backend/cpu/attention.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/paged.hpp"
#include "kvsharer/runtime/shared_cache.hpp"

using namespace kvsharer;

namespace {

constexpr attention_shape shape{.heads = 4, .kv_heads = 2, .head_dim = 16};
constexpr int owners[] = {0, 2};

/// An engine of two layers of their own, each with a reader behind it.
template <class Layout>
struct engine {
  list_scope scope;
  shared_cache<float, Layout> cache{share_map::from_owners(std::vector<int>{0, 0, 2, 2}).value(),
                                    {4, shape.kv_heads, shape.head_dim, 80},
                                    {.max_sequences = 3, .positions = true, .lists = scope}};
  sequence_id id = cache.create();
  holes::text texts[2] = {{shape, 7}, {shape, 8}};  // of the owners

  /// How far off the readers of the newest `count` tokens are.
  double error(index_t count) const {
    double worst = 0;
    for (std::size_t i = 0; i < 2; ++i) {
      const layer_id reader{owners[i] + 1};
      std::vector<index_t> firsts;
      for (index_t h = 0; h < shape.kv_heads; ++h) firsts.push_back(cache.length(id, cache.list_of(reader, h)) - count);
      const auto queries = texts[i].newest(count, true, [](const auto& t) { return t.query; });
      std::vector<float> out(queries.size());
      cpu::attend(shape, cache.keys(reader, id), cache.values(reader, id), firsts, count, queries.data(), out.data());
      const double own = texts[i].error_of(out, count);
      worst = own <= worst ? worst : own;
    }
    return worst;
  }
  /// Runs `count` more tokens, and returns how far off they are.
  double run(index_t count) {
    const index_t first = cache.append(id, count);
    for (std::size_t i = 0; i < 2; ++i) {
      texts[i].add(count);
      const auto keys = texts[i].newest(count, true, [](const auto& t) { return t.key; });
      const auto values = texts[i].newest(count, false, [](const auto& t) { return t.value; });
      cache.store({owners[i]}, id, first, count, keys.data(), values.data());
    }
    return error(count);
  }
  template <class Gone>
  void take_out(std::size_t owner, index_t head, Gone&& gone) {
    const index_t list = cache.list_of({owners[owner]}, head);
    if (scope == list_scope::head)
      cache.keep(id, list, texts[owner].take_out(head, gone));
    else
      cache.keep(id, list, texts[owner].take_out(gone));
  }
  /// The pages that the lengths of all lists ask for: one for keys and one for values.
  index_t pages_asked() const {
    index_t pages = 0;
    for (index_t l = 0; l < cache.lists().lists(); ++l)
      pages += 2 * ((cache.length(id, l) + cache.page_tokens() - 1) / cache.page_tokens());
    return pages;
  }
  index_t pages_in_use() const { return cache.pages() - cache.free_pages(); }
};

}  // namespace

TEST_CASE_TEMPLATE("lists lose tokens each on its own", Layout, layout::paged<4>, layout::paged<>, layout::head_major,
                   layout::token_major) {
  for (const list_scope scope : {list_scope::set, list_scope::head}) {
    CAPTURE(static_cast<int>(scope));
    engine<Layout> e{scope};
    const index_t per_list = scope == list_scope::head ? 1 : shape.kv_heads;
    CHECK(e.cache.lists().lists() == 2 * shape.kv_heads / per_list);
    CHECK(e.run(23) < 1e-5);
    CHECK(e.pages_in_use() == e.pages_asked());
    e.take_out(0, 0, [](index_t slot) { return slot % 3 == 1; });
    e.take_out(1, 1, [](index_t slot) { return slot > 3 && slot < 20; });
    CHECK(e.pages_in_use() == e.pages_asked());
    CHECK_FALSE(e.cache.even(e.id));
    CHECK(e.cache.length(e.id, e.cache.list_of({1}, 0)) == 15);
    CHECK(e.cache.length(e.id, e.cache.list_of({3}, 1)) == 7);
    CHECK(e.cache.position(e.id, 4, e.cache.list_of({3}, 1)) == 20);
    CHECK(e.run(1) < 1e-5);  // decode
    CHECK(e.run(6) < 1e-5);  // a chunk
    CHECK(e.pages_in_use() == e.pages_asked());

    // A fork goes on with what was there, whatever the other loses.
    sequence_id fork = e.cache.fork(e.id);
    auto texts = std::vector<holes::text>(std::begin(e.texts), std::end(e.texts));
    e.take_out(1, 0, [](index_t slot) { return slot % 2 == 0; });
    CHECK(e.run(1) < 1e-5);
    std::swap(e.id, fork);
    for (std::size_t i = 0; i < 2; ++i) std::swap(e.texts[i], texts[i]);
    CHECK(e.run(1) < 1e-5);
    CHECK(e.run(7) < 1e-5);
    e.cache.drop(fork);
    CHECK(e.pages_in_use() == e.pages_asked());

    // What is newest in the text goes first, in every list, and the next token stands where it stood.
    std::ostringstream before;
    e.cache.save(e.id, before);
    CHECK(e.run(5) < 1e-5);
    e.cache.truncate(e.id, e.cache.length(e.id) - 5);
    for (holes::text& t : e.texts) t.truncate(static_cast<index_t>(t.tokens.size()) - 5);
    CHECK(e.pages_in_use() == e.pages_asked());
    std::ostringstream after;
    e.cache.save(e.id, after);
    CHECK(before.str() == after.str());
    CHECK(e.run(2) < 1e-5);

    // Saved and restored, lists, positions and numbers are the same.
    std::ostringstream out;
    e.cache.save(e.id, out);
    std::istringstream in(out.str());
    const sequence_id back = e.cache.restore(in);
    for (index_t l = 0; l < e.cache.lists().lists(); ++l) CHECK(e.cache.length(back, l) == e.cache.length(e.id, l));
    e.cache.drop(e.id);
    e.id = back;
    CHECK(e.pages_in_use() == e.pages_asked());
    CHECK(e.error(3) < 1e-5);
    CHECK(e.run(1) < 1e-5);
    e.cache.drop(e.id);
    CHECK(e.pages_in_use() == 0);
  }
}

TEST_CASE("the oracle tells one head's list from another's") {
  engine<layout::paged<4>> e{list_scope::head};
  e.run(23);
  e.take_out(0, 0, [](index_t slot) { return slot % 3 == 1; });
  CHECK(e.run(1) < 1e-5);
  for (auto& t : e.texts[0].tokens) t.kept = {t.kept[1], t.kept[0]};
  CHECK(e.run(1) > 1e-3);
}

TEST_CASE("footprints and counters of lists are those of the pages") {
  engine<layout::paged<4>> e{list_scope::head};
  e.run(10);
  e.take_out(0, 1, [](index_t slot) { return slot != 9; });
  const std::size_t page = 4 * 16 * sizeof(float);  // four tokens of one head of one plane
  const cache_footprint f = e.cache.footprint();
  CHECK(f.keys + f.values == 0);
  CHECK(f.pages == static_cast<std::size_t>(e.cache.pages()) * page);
  CHECK(f.held == (3 * 3 + 1) * 2 * page);
  CHECK(f.logical == (3 * 10 + 1) * 2 * 16 * sizeof(float));
  const cache_counters c = e.cache.counters();
  CHECK(c.physical == f.held);
  CHECK(c.peak == 4 * 3 * 2 * page);
  CHECK(c.slots_empty == (3 * 2 + 3) * 2);
}

TEST_CASE("what lists forbid is refused in words, and the cache is as it was") {
  engine<layout::paged<4>> e{list_scope::head};
  e.run(9);
  e.take_out(0, 0, [](index_t slot) { return slot < 5; });
  const auto code = [](auto&& f) {
    try {
      f();
    } catch (const error& x) {
      return x.code();
    }
    return errc{};
  };
  CHECK(code([&] { (void)e.cache.sequence(e.id); }) == errc::bad_argument);
  CHECK(code([&] { (void)e.cache.length(e.id, 4); }) == errc::out_of_range);
  CHECK(code([&] { (void)e.cache.list_of({0}, 2); }) == errc::out_of_range);
  CHECK(code([&] { e.cache.keep(e.id, 0, std::vector<index_t>{4}); }) == errc::out_of_range);
  const std::vector<float> rows(static_cast<std::size_t>(9 * shape.kv_heads * shape.head_dim));
  CHECK(code([&] { e.cache.store({0}, e.id, 0, 9, rows.data(), rows.data()); }) == errc::out_of_range);
  CHECK(code([&] { e.cache.store({2}, e.id, 0, 9, rows.data(), rows.data()); }) == errc{});  // its lists are whole
  std::ostringstream out;
  e.cache.save(e.id, out);
  engine<layout::paged<4>> other{list_scope::set};
  std::istringstream in(out.str());
  CHECK(code([&] { other.cache.restore(in); }) == errc::bad_stream);
  const index_t free = e.cache.free_pages();
  shared_cache<float, layout::paged<4>> small(share_map::identity(1), {1, 2, 16, 80},
                                              {.max_sequences = 1, .pages = 7, .lists = list_scope::head});
  const auto id = small.create();
  CHECK(code([&] { small.append(id, 5); }) == errc::pages_exhausted);  // two pages for each of two heads, twice
  CHECK(small.length(id) == 0);
  CHECK(small.free_pages() == 7);
  CHECK(e.cache.free_pages() == free);
}

TEST_CASE("an even sequence is saved alike by every cache, whatever its lists") {
  engine<layout::paged<4>> heads{list_scope::head}, sets{list_scope::set}, all{list_scope::cache};
  std::ostringstream a, b, c;
  for (auto* e : {&heads, &sets, &all}) CHECK(e->run(11) < 1e-5);
  heads.cache.save(heads.id, a);
  sets.cache.save(sets.id, b);
  all.cache.save(all.id, c);
  CHECK(a.str() == b.str());
  CHECK(a.str() == c.str());
  std::istringstream in(c.str());
  heads.cache.drop(heads.id);
  heads.id = heads.cache.restore(in);
  CHECK(heads.run(1) < 1e-5);
}

TEST_CASE("a list that keeps older tokens than the longest is emptied, too, and cut where the longest is cut") {
  engine<layout::paged<4>> e{list_scope::head};
  e.run(20);
  e.take_out(0, 0, [](index_t slot) { return slot > 2; });    // positions 0 to 2
  e.take_out(0, 1, [](index_t slot) { return slot < 4; });    // 4 to 19
  e.take_out(1, 0, [](index_t slot) { return slot < 10; });   // 10 to 19
  e.take_out(1, 1, [](index_t slot) { return slot >= 12; });  // 0 to 11
  const auto fork = e.cache.fork(e.id);
  CHECK(e.cache.length(e.id) == 16);
  e.cache.truncate(e.id, 5);  // the longest then ends before position 9
  CHECK(e.cache.length(e.id, e.cache.list_of({0}, 0)) == 3);
  CHECK(e.cache.length(e.id, e.cache.list_of({0}, 1)) == 5);
  CHECK(e.cache.length(e.id, e.cache.list_of({2}, 0)) == 0);
  CHECK(e.cache.length(e.id, e.cache.list_of({2}, 1)) == 9);
  CHECK(e.cache.length(e.id) == 9);
  CHECK(e.cache.next_position(e.id) == 9);
  for (holes::text& t : e.texts) t.truncate(9);
  CHECK(e.run(2) < 1e-5);
  CHECK(e.pages_in_use() > e.pages_asked());  // the fork's
  e.cache.drop(fork);
  CHECK(e.pages_in_use() == e.pages_asked());
  e.cache.truncate(e.id, 0);
  CHECK(e.pages_in_use() == 0);
  CHECK(e.cache.length(e.id) == 0);
}

TEST_CASE("a sequence is restored wherever its own pages fit") {
  const share_plan one = share_map::identity(1);
  const cache_shape size{1, 2, 4, 40};
  const auto cache_of = [&](index_t pages) {
    return shared_cache<float, layout::paged<4>>(
        one, size, {.max_sequences = 1, .pages = pages, .positions = true, .lists = list_scope::head});
  };
  auto cache = cache_of(40);
  const auto id = cache.create();
  cache.append(id, 32);
  const std::vector<float> rows(32 * 2 * 4, 2.5f);
  cache.store({0}, id, 0, 32, rows.data(), rows.data());
  cache.keep(id, 1, std::vector<index_t>{3, 30, 31});
  std::stringstream bytes;
  cache.save(id, bytes);
  auto full = cache_of(2 * 8 + 2 * 1);  // as many as it holds: 8 pages for one head's keys, and 1 for the other's
  const auto back = full.restore(bytes);
  CHECK(full.free_pages() == 0);
  CHECK(full.length(back, 0) == 32);
  CHECK(full.length(back, 1) == 3);
  CHECK(full.position(back, 1, 1) == 30);
  CHECK(full.next_position(back) == 32);
  CHECK(full.values({0}, back).at(1, 2, 3) == 2.5f);
  auto small = cache_of(2 * 8 + 1);
  std::stringstream again;
  cache.save(id, again);
  CHECK_THROWS_WITH_AS(small.restore(again), doctest::Contains("needs 18 pages and 17 are free"), error);
  CHECK(small.free_pages() == 17);
}
