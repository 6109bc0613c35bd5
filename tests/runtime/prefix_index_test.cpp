// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/runtime/prefix_index.hpp"

#include <algorithm>
#include <map>
#include <new>
#include <random>

#include "runtime/cache_fixtures.hpp"

using namespace cache_fixtures;

namespace {

using text = std::vector<std::int32_t>;

const share_map some_map = map_of({0, 1, 1});

/// A hash that tells nothing apart.
struct same_hash {
  std::uint64_t operator()(std::uint64_t, std::span<const std::int32_t>) const noexcept { return 7; }
};

/// A hash that fails at the call of number `at`.
struct failing_hash {
  int* calls;
  int at;
  std::uint64_t operator()(std::uint64_t, std::span<const std::int32_t>) const {
    if (++*calls == at) throw std::bad_alloc();
    return 7;
  }
};

/// Random texts over few tokens come, grow, shrink, and go; beside them a list that is searched from end to end.
template <class Hash>
void wander(index_t page, unsigned seed, int steps) {
  prefix_index<Hash> index(page, some_map);
  std::map<int, text> known;  // what the index was told, whole pages and the rest
  std::mt19937 random(seed);
  const auto below = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };
  const auto grow = [&](text& t) {
    for (std::size_t n = below(static_cast<std::size_t>(3 * page)); n > 0; --n)
      t.push_back(below(8) == 0 ? -1 : static_cast<std::int32_t>(below(2)));
  };
  const auto any = [&] { return std::next(known.begin(), static_cast<std::ptrdiff_t>(below(known.size()))); };
  int next = 0;
  prefix_counters expected;
  for (int i = 0; i < steps; ++i) {
    const std::size_t what = below(8);
    if (what == 0 || known.empty()) {
      text t = !known.empty() && below(2) ? any()->second : text{};
      grow(t);
      index.update({next}, t);
      known[next++] = t;
    } else if (what <= 2) {
      const auto it = any();
      grow(it->second);
      index.update({it->first}, it->second);
    } else if (what == 3) {
      const auto it = any();
      it->second.resize(below(it->second.size() + 1));
      index.truncate({it->first}, static_cast<index_t>(it->second.size()));
    } else if (what == 4 && (known.size() > 12 || below(3) == 0)) {
      const auto it = any();
      index.erase({it->first});
      known.erase(it);
    } else {
      text asked = below(4) ? any()->second : text{};
      if (!asked.empty() && below(2)) asked[below(asked.size())] ^= 1;
      grow(asked);
      index_t longest = 0;
      const auto same = [&](const text& held) {
        const auto common = std::mismatch(held.begin(), held.end(), asked.begin(), asked.end()).first - held.begin();
        return common / page * page;
      };
      for (const auto& [id, held] : known) longest = std::max<index_t>(longest, same(held));
      const prefix_hit hit = index.find(asked);
      REQUIRE(hit.tokens == longest);
      REQUIRE((hit.id.value >= 0) == (longest > 0));
      if (longest > 0) REQUIRE(same(known.at(hit.id.value)) == longest);
      ++expected.lookups;
      expected.hits += longest > 0;
      expected.tokens_asked += asked.size();
      expected.tokens_hit += static_cast<std::uint64_t>(longest);
      expected.pages_asked += asked.size() / static_cast<std::size_t>(page);
      expected.pages_hit += static_cast<std::uint64_t>(longest / page);
    }
  }
  CHECK(index.counters() == expected);
  CHECK(expected.hits > expected.lookups / 4);
  CHECK(expected.hits < expected.lookups);

  std::map<text, int> pages;
  index_t holders = 0;
  for (const auto& [id, held] : known) {
    CHECK(index.known_tokens({id}) == static_cast<index_t>(held.size()) / page * page);
    for (index_t end = page; end <= static_cast<index_t>(held.size()); end += page)
      ++pages[text(held.begin(), held.begin() + end)];
    holders += static_cast<index_t>(held.size()) >= page;
  }
  CHECK(index.pages() == static_cast<index_t>(pages.size()));
  CHECK(index.sequences() == holders);
  for (const auto& [id, held] : known) index.erase({id});
  CHECK(index.pages() == 0);
  CHECK(index.sequences() == 0);
}

}  // namespace

TEST_CASE("whole pages are found, in the longest sequence that has them, and forgotten with it") {
  prefix_index<> index(2, some_map);
  index.update({0}, text{5, 6, 7, 8, 9});
  CHECK(index.pages() == 2);  // the 9 fills no page
  index.update({3}, text{5, 6, 1, 1});
  CHECK(index.pages() == 3);

  CHECK(index.find(text{5, 6, 7, 8, 9, 9}).id == sequence_id{0});
  CHECK(index.find(text{5, 6, 7, 8, 9, 9}).tokens == 4);
  CHECK(index.find(text{5, 6, 1, 1}).id == sequence_id{3});
  CHECK(index.find(text{5, 6, 1}).tokens == 2);
  CHECK(index.find(text{5}).tokens == 0);
  CHECK(index.find(text{7, 8}).id == sequence_id{});  // the same page, but nothing stood before it
  CHECK(index.find(text{}).tokens == 0);
  CHECK(index.counters() ==
        prefix_counters{7, 4, 6 + 6 + 4 + 3 + 1 + 2, 4 + 4 + 4 + 2, 3 + 3 + 2 + 1 + 0 + 1, 2 + 2 + 2 + 1});

  index.truncate({0}, 3);  // [7, 8] is no whole page now
  CHECK(index.find(text{5, 6, 7, 8}).tokens == 2);
  index.update({0}, text{5, 6, 7, 0});
  CHECK(index.find(text{5, 6, 7, 0}).id == sequence_id{0});
  index.erase({0});
  CHECK(index.find(text{5, 6, 7, 0}).id == sequence_id{3});
  index.erase({3});
  CHECK(index.find(text{5, 6}).tokens == 0);
  CHECK(index.pages() == 0);
  index.erase({3});  // which is not known any more
}

TEST_CASE("what cannot be, is refused") {
  CHECK_REFUSED(bad_argument, prefix_index<>(0, some_map));
  prefix_index<> index(2, some_map);
  CHECK_REFUSED(unknown_sequence, index.update({}, text{1, 2}));
  index.update({1}, text{1, 2, 3, 4});
  CHECK_REFUSED(out_of_range, index.update({1}, text{1, 2, 3}));
  CHECK(index.find(text{1, 2, 3, 4}).tokens == 4);
  index.clear();
  CHECK(index.find(text{1, 2, 3, 4}).tokens == 0);
}

TEST_CASE("random texts, against a search of all sequences") {
  wander<prefix_hash>(1, 1, 6000);
  wander<prefix_hash>(3, 2, 6000);
  wander<prefix_hash>(4, 3, 6000);
}

TEST_CASE("equal hashes are told apart by their tokens") { wander<same_hash>(2, 4, 3000); }

TEST_CASE("keys are the same on every machine, and differ by map, salt and every token before") {
  // From the offset basis it is 64-bit FNV-1a, of which "abcd" gives the number below.
  CHECK(prefix_hash{}(0xcbf29ce484222325u, text{}) == 0xcbf29ce484222325u);
  CHECK(prefix_hash{}(0xcbf29ce484222325u, text{0x64636261}) == 0xfc179f83ee0724ddu);
  CHECK(prefix_hash{}(prefix_hash{}(1, text{4, 5}), text{6}) == prefix_hash{}(1, text{4, 5, 6}));
  CHECK(prefix_hash{}(1, text{4, 5}) != prefix_hash{}(1, text{5, 4}));
  CHECK(prefix_seed(some_map) != prefix_seed(map_of({0, 1, 0})));
  CHECK(prefix_seed(some_map) != prefix_seed(some_map, 1));
}

TEST_CASE("a hit is forked and truncated: its pages are shared, and no row is stored twice") {
  const cache_shape shape{3, 1, 2, 16};
  shared_cache<float, layout::paged<4>> cache(some_map, shape, {.max_sequences = 3, .pages = 6});
  prefix_index<> index(cache.page_tokens(), cache.plan());
  const text first{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, second{1, 2, 3, 4, 5, 6, 7, 8, 11};
  const auto a = cache.create();
  cache.append(a, 10);
  for (const layer_id owner : {layer_id{0}, layer_id{1}}) {
    const auto k = rows(shape, 10, owner.value), v = rows(shape, 10, 10 + owner.value);
    cache.store(owner, a, 0, 10, k.data(), v.data());
  }
  index.update(a, first);

  const prefix_hit hit = index.find(second);
  REQUIRE(hit.tokens == 8);
  const auto b = cache.fork(hit.id);
  cache.truncate(b, hit.tokens);
  CHECK(cache.append(b, 1) == 8);
  CHECK(cache.pages() - cache.free_pages() == 4);  // three of a's, and the one that b writes to
  cache.store({0}, b, 8, 1, rows(shape, 1, 99).data(), rows(shape, 1, 98).data());
  for (index_t t = 0; t < 8; ++t) CHECK(cache.keys({2}, b).at(0, t, 1) == cache.keys({1}, a).at(0, t, 1));
  CHECK(cache.keys({0}, a).at(0, 8, 0) == rows(shape, 10, 0)[16]);  // what b wrote is b's
}

TEST_CASE("an update that fails leaves no sequence of which no page is known") {
  int calls = 0;
  prefix_index<failing_hash> at_once(2, some_map, 0, {&calls, 1});
  CHECK_THROWS_AS(at_once.update({3}, text{1, 2, 3, 4}), std::bad_alloc);
  CHECK(at_once.sequences() == 0);
  CHECK(at_once.pages() == 0);
  at_once.update({3}, text{1, 2, 3, 4});
  CHECK(at_once.sequences() == 1);
  CHECK(at_once.known_tokens({3}) == 4);

  calls = 0;
  prefix_index<failing_hash> later(2, some_map, 0, {&calls, 2});
  CHECK_THROWS_AS(later.update({3}, text{1, 2, 3, 4}), std::bad_alloc);
  CHECK(later.sequences() == 1);  // the page before the failure stays
  CHECK(later.known_tokens({3}) == 2);
  later.erase({3});
  CHECK(later.sequences() == 0);
  CHECK(later.pages() == 0);
}
