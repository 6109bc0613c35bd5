// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <sstream>

#include "runtime/cache_fixtures.hpp"
#include "runtime/slow_counters.hpp"

/// Random operations on a cache beside a model that keeps plain vectors and shares nothing. Equal contents, lengths and
/// refusals are asked for all the way.
using namespace cache_fixtures;

namespace {

const cache_shape shape{.layers = 4, .kv_heads = 2, .head_dim = 8, .capacity = 23};
/// Both halves of a layer together, and apart: keys of three layers and values of two.
const share_plan together = map_of({0, 1, 1, 3}), apart(map_of({0, 1, 1, 3}), map_of({0, 0, 2, 2}));
constexpr index_t max_sequences = 6;
constexpr std::size_t row_size = 16;

/// One token's keys and values in all layers that store them: [layer][kv_head * head_dim] each, decoded. `stored` is
/// false between append and store, when the numbers are nobody's promise.
struct token {
  std::array<float, 4 * row_size> keys{}, values{};
  bool stored = false;
  index_t position = 0;  // in the text
};
/// A sequence: its tokens, slot by slot, and where the next one will stand.
struct text : std::vector<token> {
  index_t next = 0;
};
using model = std::map<sequence_id, text>;

template <class Cache>
class walk {
 public:
  using E = typename Cache::element_type;

  walk(Cache& cache, const share_plan& plan, unsigned seed) : cache_(cache), plan_(plan), random_(seed) {}

  void step() {
    switch (below(18)) {
      case 0:
      case 1:
        create();
        break;
      case 2:
      case 3:
        fork();
        break;
      case 4:
        drop();
        break;
      case 5:
      case 6:
        truncate();
        break;
      case 7:
        save_and_restore();
        break;
      case 8:
      case 9:
        grow_batch();
        break;
      case 10:
        overwrite();
        break;
      case 12:
      case 13:
        keep();
        break;
      case 11:
        if (below(40) == 0) {
          cache_.clear();
          model_.clear();
        }
        break;
      default:
        grow();
        break;
    }
    peak_ = std::max(peak_, cache_.pages() - cache_.free_pages());
  }

  /// The pages that block tables name must be exactly those that are not free and those that are counted, and every
  /// stored number must show.
  bool agrees() const {
    std::vector<sequence_id> living;
    for (const auto& [id, tokens] : model_) living.push_back(id);
    std::size_t planes = 0;
    for (int l = 0; l < 4; ++l) planes += (plan_.owns_keys({l}) ? 1 : 0) + (plan_.owns_values({l}) ? 1 : 0);
    const std::size_t token_bytes = planes * row_size * sizeof(E);
    if (!(cache_.counters() == slow_counters(cache_, living, token_bytes, peak_))) return false;
    std::vector<bool> held(static_cast<std::size_t>(cache_.pages()));
    for (const auto& [id, tokens] : model_) {
      if (!cache_.alive(id) || cache_.length(id) != static_cast<index_t>(tokens.size())) return false;
      if (cache_.next_position(id) != tokens.next) return false;
      for (std::size_t t = 0; t < tokens.size(); ++t)
        if (cache_.position(id, static_cast<index_t>(t)) != tokens[t].position) return false;
      const auto table = cache_.block_table(id);
      const index_t blocks = (cache_.length(id) + cache_.page_tokens() - 1) / cache_.page_tokens();
      for (index_t b = 0; b < blocks; ++b) held[static_cast<std::size_t>(table[static_cast<std::size_t>(b)])] = true;
      if (!shows(id, tokens)) return false;
    }
    return std::count(held.begin(), held.end(), false) == cache_.free_pages();
  }

  std::size_t refusals() const { return refusals_; }
  std::size_t changes() const { return changes_; }

 private:
  index_t below(index_t n) { return std::uniform_int_distribution<index_t>(0, n - 1)(random_); }
  sequence_id any() { return std::next(model_.begin(), below(static_cast<index_t>(model_.size())))->first; }

  bool shows(sequence_id id, const std::vector<token>& tokens) const {
    for (int l = 0; l < 4; ++l) {
      const auto keys = cache_.keys({l}, id), values = cache_.values({l}, id);
      const auto key_row = static_cast<std::size_t>(plan_.key_owner({l}).value) * row_size;
      const auto value_row = static_cast<std::size_t>(plan_.value_owner({l}).value) * row_size;
      for (std::size_t t = 0; t < tokens.size(); ++t) {
        if (!tokens[t].stored) continue;
        for (std::size_t i = 0; i < row_size; ++i) {
          const auto head = static_cast<index_t>(i / 8), at = static_cast<index_t>(t),
                     channel = static_cast<index_t>(i % 8);
          if (keys.at(head, at, channel) != tokens[t].keys[key_row + i]) return false;
          if (values.at(head, at, channel) != tokens[t].values[value_row + i]) return false;
        }
      }
    }
    return true;
  }

  /// Runs an operation that may be refused for want of `code`s; a refusal must leave everything as it was.
  template <class F>
  bool attempt(std::initializer_list<errc> codes, F&& f) {
    const auto before = cache_.footprint();
    try {
      f();
      ++changes_;
      return true;
    } catch (const error& e) {
      ++refusals_;
      const bool expected = std::find(codes.begin(), codes.end(), e.code()) != codes.end();
      if (!expected || !(cache_.footprint() == before)) FAIL_CHECK(e.what());
      return false;
    }
  }

  void create() {
    sequence_id id;
    const bool fits = model_.size() < max_sequences;
    if (attempt({errc::sequences_exhausted}, [&] { id = cache_.create(); })) model_[id];
    CHECK_EQ(fits, id.value >= 0);
  }
  void fork() {
    if (model_.empty()) return;
    const auto from = any();
    sequence_id id;
    if (attempt({errc::sequences_exhausted}, [&] { id = cache_.fork(from); })) model_[id] = model_[from];
  }
  void drop() {
    if (model_.empty()) return;
    const auto id = any();
    cache_.drop(id);
    model_.erase(id);
    if (cache_.alive(id)) FAIL_CHECK("a dropped sequence lives");
  }
  void truncate() {
    if (model_.empty()) return;
    const auto id = any();
    auto& tokens = model_[id];
    const index_t length = below(static_cast<index_t>(tokens.size()) + 1);
    cache_.truncate(id, length);
    if (length < static_cast<index_t>(tokens.size())) tokens.next = tokens[static_cast<std::size_t>(length)].position;
    tokens.resize(static_cast<std::size_t>(length));
  }
  /// Is a page of this sequence named by another's block table?
  bool shared(sequence_id id, std::int32_t page) const {
    for (const auto& [other, tokens] : model_) {
      const auto table = cache_.block_table(other);
      const auto end = table.begin() + (cache_.length(other) + cache_.page_tokens() - 1) / cache_.page_tokens();
      if (other != id && std::find(table.begin(), end, page) != end) return true;
    }
    return false;
  }
  /// Takes tokens out of the middle. Pages that change and that a fork holds too need pages in their place.
  void keep() {
    if (model_.empty()) return;
    const auto id = any();
    text& tokens = model_[id];
    std::vector<index_t> slots;
    const index_t share = below(4) + 1;
    for (index_t t = 0; t < static_cast<index_t>(tokens.size()); ++t)
      if (below(share + 1) < share) slots.push_back(t);
    const index_t size = cache_.page_tokens(), count = static_cast<index_t>(slots.size());
    index_t moved = 0, needed = 0;
    while (moved < count && slots[static_cast<std::size_t>(moved)] == moved) ++moved;
    for (index_t b = moved / size; moved < count && b <= (count - 1) / size; ++b)
      needed += shared(id, cache_.block_table(id)[static_cast<std::size_t>(b)]);
    const bool fits = needed <= cache_.free_pages();
    if (fits) peak_ = std::max(peak_, cache_.pages() - cache_.free_pages() + needed);  // before others are given back
    if (fits != attempt({errc::pages_exhausted}, [&] { cache_.keep(id, slots); }))
      FAIL_CHECK("keep refused what fits, or took what does not");
    if (!fits) return;
    text left;
    for (const index_t slot : slots) left.push_back(tokens[static_cast<std::size_t>(slot)]);
    left.next = tokens.next;
    tokens = left;
  }
  /// From the block tables alone: new pages, and one more where another sequence names the page that is written into.
  index_t pages_needed(sequence_id id, index_t tokens) const {
    const index_t size = cache_.page_tokens(), length = cache_.length(id);
    index_t pages = 0;
    for (index_t t = length; t < length + tokens; ++t) pages += t % size == 0;
    if (tokens == 0 || length % size == 0) return pages;
    const auto last = cache_.block_table(id)[static_cast<std::size_t>(length / size)];
    for (const auto& [other, unused] : model_) {
      const auto table = cache_.block_table(other);
      const auto end = table.begin() + (cache_.length(other) + size - 1) / size;
      if (other != id && std::find(table.begin(), end, last) != end) return pages + 1;
    }
    return pages;
  }
  void grow() {
    if (model_.empty()) return;
    const auto id = any();
    const index_t tokens = below(6);
    const bool fits = cache_.length(id) + tokens <= shape.capacity && pages_needed(id, tokens) <= cache_.free_pages();
    index_t first = -1;
    if (fits != attempt({errc::capacity_exceeded, errc::pages_exhausted}, [&] { first = cache_.append(id, tokens); }))
      FAIL_CHECK("append refused what fits, or took what does not");
    if (!fits) return;
    if (first != static_cast<index_t>(model_[id].size())) FAIL_CHECK("append returned another first token");
    extend(id, tokens);
    fill(id, first, tokens);
  }
  void extend(sequence_id id, index_t tokens) {
    text& all = model_[id];
    for (; tokens > 0; --tokens) {
      all.emplace_back();
      all.back().position = all.next++;
    }
  }
  void grow_batch() {
    if (model_.empty()) return;
    std::vector<sequence_growth> batch;
    for (index_t n = below(4) + 1; n > 0; --n) batch.push_back({any(), below(5)});
    if (!attempt({errc::capacity_exceeded, errc::pages_exhausted}, [&] { cache_.append(batch); })) return;
    for (const auto& g : batch) {
      const auto first = static_cast<index_t>(model_[g.id].size());
      extend(g.id, g.tokens);
      fill(g.id, first, g.tokens);
    }
  }
  /// A write to tokens that were stored before is taken whole or, where a fork holds a page too, not at all.
  void overwrite() {
    if (model_.empty()) return;
    const auto id = any();
    const auto length = static_cast<index_t>(model_[id].size());
    if (length == 0) return;
    const index_t first = below(length), tokens = below(length - first) + 1;
    bool shared = false;
    for (index_t b = first / cache_.page_tokens(); b <= (first + tokens - 1) / cache_.page_tokens(); ++b)
      for (const auto& [other, unused] : model_) {
        const auto blocks = (cache_.length(other) + cache_.page_tokens() - 1) / cache_.page_tokens();
        for (index_t o = 0; o < blocks; ++o)
          shared |= other != id && cache_.block_table(other)[static_cast<std::size_t>(o)] ==
                                       cache_.block_table(id)[static_cast<std::size_t>(b)];
      }
    if (shared != !attempt({errc::out_of_range}, [&] { fill(id, first, tokens); }))
      FAIL_CHECK("a write to a shared page was taken, or one to a page of its own refused");
  }
  void save_and_restore() {
    if (model_.empty()) return;
    const auto from = any();
    std::stringstream bytes;
    cache_.save(from, bytes);
    sequence_id id;
    if (attempt({errc::sequences_exhausted, errc::pages_exhausted}, [&] { id = cache_.restore(bytes); }))
      model_[id] = model_[from];
  }

  void fill(sequence_id id, index_t first, index_t tokens) {
    const auto n = static_cast<std::size_t>(tokens);
    std::vector<token> fresh(n);
    for (layer_id l{0}; l.value < 4; ++l.value) {
      const bool keys = plan_.owns_keys(l), values = plan_.owns_values(l);
      if (!keys && !values) continue;
      std::vector<float> k(n * row_size), v(n * row_size);
      for (auto* plane : {&k, &v})
        for (float& x : *plane) x = static_cast<float>(below(2'000'001) - 1'000'000) / 7919.0f;
      cache_.store(l, id, first, tokens, keys ? k.data() : nullptr, values ? v.data() : nullptr);
      const auto row = static_cast<std::size_t>(l.value) * row_size;
      for (std::size_t i = 0; i < n * row_size; ++i) {
        token& t = fresh[i / row_size];
        t.keys[row + i % row_size] = static_cast<float>(E(k[i]));
        t.values[row + i % row_size] = static_cast<float>(E(v[i]));
      }
    }
    for (std::size_t t = 0; t < n; ++t) {
      token& old = model_[id][static_cast<std::size_t>(first) + t];
      fresh[t].stored = true;
      fresh[t].position = old.position;
      old = fresh[t];
    }
  }

  Cache& cache_;
  const share_plan& plan_;
  std::mt19937 random_;
  model model_;
  std::size_t refusals_ = 0, changes_ = 0;
  index_t peak_ = 0;  // of pages in use
};

/// `looks` times are everything's contents compared on the way.
template <class C>
void wander(const share_plan& plan, index_t pages, unsigned seed, int steps = 12'000, int looks = 600) {
  typename C::cache cache(plan, shape, {.max_sequences = max_sequences, .pages = pages, .tag = "m", .positions = true},
                          make_layout<typename C::layout_type>());
  walk<typename C::cache> w(cache, plan, seed);
  for (int i = 0; i < steps; ++i) {
    w.step();
    if (i % (steps / looks) == 0) REQUIRE(w.agrees());
  }
  CHECK(w.agrees());
  CHECK(w.changes() > static_cast<std::size_t>(steps) / 6);
  CHECK(w.refusals() > static_cast<std::size_t>(steps) / 120);
  cache.clear();
  CHECK(cache.free_pages() == cache.pages());
}

}  // namespace
