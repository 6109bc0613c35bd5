// SPDX-License-Identifier: Apache-2.0
// Random operations on caches whose heads have lists of their own, against a model that keeps for every list what
// stands in it, and nothing of pages.
//
// KVSHARER_TEST_SEED=<n> walks other ways; a failure names it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <vector>

#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/paged.hpp"
#include "kvsharer/runtime/shared_cache.hpp"

using namespace kvsharer;

namespace {

constexpr cache_shape shape{5, 2, 2, 21};
// Layer 1 reads 0; layers 2 to 4 are one set: layer 4 reads the keys of 2 and the values of 3.
const share_plan plan(share_map::from_owners(std::vector<int>{0, 0, 2, 3, 2}).value(),
                      share_map::from_owners(std::vector<int>{0, 0, 2, 3, 3}).value());
constexpr int sequences = 4, pages = 110;

struct token {
  index_t position;
  float number;  // of its key; the value has the opposite sign
  friend bool operator==(const token&, const token&) = default;
};
struct text {
  std::vector<std::vector<token>> lists;
  index_t next = 0;
};

template <class Layout>
class walk {
 public:
  walk(list_scope scope, unsigned seed)
      : random_(seed),
        cache_(plan, shape, {.max_sequences = sequences, .pages = pages, .positions = true, .lists = scope}, {}) {}

  void step() {
    const int choice = draw(100);
    if (texts_.empty() || choice < 10)
      create();
    else if (choice < 40)
      append();
    else if (choice < 70)
      keep();
    else if (choice < 80)
      truncate();
    else if (choice < 88)
      fork();
    else if (choice < 94)
      drop();
    else
      save();
  }

  /// Has every list what the model says, read through every layer, and do the pages add up?
  bool agrees() const {
    std::set<std::pair<index_t, std::int32_t>> held;  // table's pages; a page is in one table alone
    std::size_t used = 0;
    for (const auto& [id, t] : texts_) {
      if (cache_.next_position(id) != t.next) return false;
      std::size_t longest = 0;
      for (const auto& list : t.lists) longest = std::max(longest, list.size());
      if (cache_.length(id) != static_cast<index_t>(longest)) return false;
      for (index_t l = 0; l < lists(); ++l) {
        const auto& want = t.lists[static_cast<std::size_t>(l)];
        if (cache_.length(id, l) != static_cast<index_t>(want.size())) return false;
        for (index_t i = 0; i < static_cast<index_t>(want.size()); ++i)
          if (cache_.position(id, i, l) != want[static_cast<std::size_t>(i)].position) return false;
        const index_t blocks = (cache_.length(id, l) + cache_.page_tokens() - 1) / cache_.page_tokens();
        for (const std::int32_t table : cache_.lists().tables_of(l))
          for (index_t b = 0; b < blocks; ++b)
            held.insert({table, cache_.block_table(id, table)[static_cast<std::size_t>(b)]});
      }
      for (int layer = 0; layer < shape.layers; ++layer)
        for (index_t h = 0; h < shape.kv_heads; ++h) {
          const auto& want = t.lists[static_cast<std::size_t>(cache_.list_of({layer}, h))];
          const auto keys = cache_.keys({layer}, id), values = cache_.values({layer}, id);
          for (index_t i = 0; i < static_cast<index_t>(want.size()); ++i) {
            const float number = want[static_cast<std::size_t>(i)].number;
            if (keys.at(h, i, 1) != number + of(plan.key_owner({layer}), h)) return false;
            if (values.at(h, i, 1) != -number - of(plan.value_owner({layer}), h)) return false;
          }
        }
    }
    used = held.size();
    return static_cast<index_t>(used) == cache_.pages() - cache_.free_pages();
  }

 private:
  int draw(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  index_t lists() const { return cache_.lists().lists(); }
  sequence_id any() {
    auto at = texts_.begin();
    std::advance(at, draw(static_cast<int>(texts_.size())));
    return at->first;
  }
  static float of(layer_id owner, index_t head) {
    return static_cast<float>(owner.value) / 8 + static_cast<float>(head) / 64;
  }
  /// Does it throw this, and nothing else?
  template <class F>
  static bool refused(errc code, F&& f) {
    try {
      f();
    } catch (const error& e) {
      REQUIRE(e.code() == code);
      return true;
    }
    return false;
  }

  void create() {
    if (static_cast<int>(texts_.size()) == sequences) return;
    texts_[cache_.create()] = {std::vector<std::vector<token>>(static_cast<std::size_t>(lists())), 0};
  }

  void append() {
    const sequence_id id = any();
    const index_t tokens = 1 + draw(6), longest = cache_.length(id);
    if (longest + tokens > shape.capacity) {
      CHECK(refused(errc::capacity_exceeded, [&] { cache_.append(id, tokens); }));
      return;
    }
    if (refused(errc::pages_exhausted, [&] { cache_.append(id, tokens); })) return;
    text& t = texts_[id];
    const auto first = numbers_;
    for (index_t i = 0; i < tokens; ++i, ++t.next, ++numbers_)
      for (auto& list : t.lists) list.push_back({t.next, static_cast<float>(numbers_)});
    for (int layer = 0; layer < shape.layers; ++layer) {
      std::vector<float> keys, values;
      for (index_t i = 0; i < tokens; ++i)
        for (index_t h = 0; h < shape.kv_heads; ++h)
          for (index_t c = 0; c < shape.head_dim; ++c) {
            keys.push_back(static_cast<float>(first + i) + of({layer}, h));
            values.push_back(-keys.back());
          }
      if (cache_.owns({layer}))
        cache_.store({layer}, id, longest, tokens, cache_.owns_keys({layer}) ? keys.data() : nullptr,
                     cache_.owns_values({layer}) ? values.data() : nullptr);
    }
  }

  void keep() {
    const sequence_id id = any();
    const auto list = static_cast<index_t>(draw(static_cast<int>(lists())));
    auto& tokens = texts_[id].lists[static_cast<std::size_t>(list)];
    const int share = 1 + draw(6);
    std::vector<index_t> slots;
    std::vector<token> kept;
    for (std::size_t i = 0; i < tokens.size(); ++i)
      if (draw(share) != 0) {
        slots.push_back(static_cast<index_t>(i));
        kept.push_back(tokens[i]);
      }
    if (refused(errc::pages_exhausted, [&] { cache_.keep(id, list, slots); })) return;
    tokens = kept;
  }

  void truncate() {
    const sequence_id id = any();
    text& t = texts_[id];
    const index_t longest = cache_.length(id);
    if (longest == 0) return;
    const auto length = static_cast<index_t>(draw(static_cast<int>(longest) + 1));
    if (length < longest) {
      const auto& of = *std::find_if(t.lists.begin(), t.lists.end(),
                                     [&](const auto& list) { return static_cast<index_t>(list.size()) == longest; });
      t.next = of[static_cast<std::size_t>(length)].position;
      for (auto& list : t.lists)
        std::erase_if(list, [&](const token& x) { return length == 0 || x.position >= t.next; });
    }
    cache_.truncate(id, length);
  }

  void fork() {
    if (static_cast<int>(texts_.size()) == sequences) return;
    const sequence_id id = any();
    texts_[cache_.fork(id)] = texts_[id];
  }

  void drop() {
    const sequence_id id = any();
    cache_.drop(id);
    texts_.erase(id);
  }

  void save() {
    if (static_cast<int>(texts_.size()) == sequences) return;
    const sequence_id id = any();
    std::stringstream bytes;
    cache_.save(id, bytes);
    sequence_id back{};
    if (refused(errc::pages_exhausted, [&] { back = cache_.restore(bytes); })) return;
    texts_[back] = texts_[id];
  }

  struct by_value {
    bool operator()(sequence_id a, sequence_id b) const { return a.value < b.value; }
  };
  std::mt19937 random_;
  shared_cache<float, Layout> cache_;
  std::map<sequence_id, text, by_value> texts_;
  index_t numbers_ = 1;
};

template <class Layout>
void wander(list_scope scope) {
  const char* text = std::getenv("KVSHARER_TEST_SEED");
  const auto drawn = text ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : 0u;
  for (unsigned seed = 0; seed < 20; ++seed) {
    INFO("KVSHARER_TEST_SEED=", drawn, ", walk ", seed);
    walk<Layout> w(scope, seed + 1000003u * drawn);
    for (int i = 0; i < 250; ++i) {
      w.step();
      REQUIRE(w.agrees());
    }
  }
}

}  // namespace

TEST_CASE("lists of heads, wherever one goes") {
  wander<layout::paged<4>>(list_scope::head);
  wander<layout::paged<1>>(list_scope::head);
}
TEST_CASE("lists of sets, wherever one goes") { wander<layout::paged<4>>(list_scope::set); }
