// SPDX-License-Identifier: Apache-2.0
#include "network/forward.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kvsharer/cpu.hpp"
#include "mini_llama/tiny_llama.hpp"

namespace {

using kvsharer::index_t;
using kvsharer::sequence_id;
using kvsharer::share_map;
using namespace mini_llama;

const auto weights = std::make_shared<tiny_llama::tensors>();
const model llama = tiny_llama::make(tiny_llama::config(), weights);

const std::vector<std::vector<int>> owner_lists{
    {0, 1, 2, 3, 4, 5},  // every layer its own
    {0, 1, 0, 3, 4, 1},  // owner 4 of 4 owners: its index is not below their number
    {0, 0, 2, 2, 2, 5}, {0, 1, 2, 2, 1, 0}, {0, 0, 0, 0, 0, 0},
};

std::vector<int> text(std::size_t tokens, unsigned seed = 1) {
  std::vector<int> ids;
  std::mt19937 bits(seed);
  while (ids.size() < tokens) ids.push_back(static_cast<int>(bits() % 61));
  return ids;
}

template <class Layout = kvsharer::layout::head_major>
kvsharer::shared_cache<float, Layout> cache_for(const kvsharer::share_plan& map, index_t sequences = 1,
                                                Layout layout = {}) {
  const model_config& c = llama.config();
  return {map, {c.layers, c.kv_heads, c.head_dim, 96}, {.max_sequences = sequences}, layout};
}

/// Appends and runs `ids` of one sequence.
template <class Store>
std::vector<float> run(Store& store, sequence_id id, std::span<const int> ids, outputs want,
                       forward_options options = {}) {
  workspace w;
  options.want = want;
  const auto tokens = static_cast<index_t>(ids.size());
  const sequence_slice slice{id, store.append(id, tokens), tokens};
  const auto out = forward(llama, store, {&slice, 1}, ids, options, w);
  return {out.begin(), out.end()};
}

double largest_difference(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return worst;
}

std::span<const float> row_of(const std::vector<float>& logits, std::size_t row) {
  return {logits.data() + row * 61, 61};
}

TEST_CASE("all logits follow the textbook's Llama, under every map") {
  const std::vector<int> ids = text(23);
  for (const auto& owners : owner_lists) {
    CAPTURE(owners[5]);
    auto cache = cache_for(share_map::from_owners(owners).value());
    const std::vector<float> logits = run(cache, cache.create(), ids, outputs::all_logits);
    const tiny_llama::rows expected = tiny_llama::logits(llama.config(), *weights, owners, ids);
    double worst = 0;
    for (std::size_t t = 0; t < ids.size(); ++t)
      for (std::size_t v = 0; v < 61; ++v)
        worst = std::max(worst, std::abs(static_cast<double>(logits[t * 61 + v]) - expected[t][v]));
    CHECK(worst < 2e-5);  // logits are of the order of 1
  }
  // The maps differ, or the check above would not see sharing.
  const auto full = tiny_llama::logits(llama.config(), *weights, owner_lists[0], ids);
  const auto shared = tiny_llama::logits(llama.config(), *weights, owner_lists[1], ids);
  CHECK(std::abs(full.back()[0] - shared.back()[0]) > 1e-3);
}

TEST_CASE("keys of one owner and values of another: the textbook's logits, a short prefill's bits, half the products") {
  const std::vector<int> ids = text(23), key_owners{0, 1, 0, 1, 4, 1}, value_owners{0, 0, 2, 2, 0, 5};
  const kvsharer::share_plan plan(share_map::from_owners(key_owners).value(),
                                  share_map::from_owners(value_owners).value());
  kvsharer::shared_cache<> cache = cache_for(plan);
  const sequence_id id = cache.create();
  const std::vector<float> logits = run(cache, id, ids, outputs::all_logits);
  const tiny_llama::rows expected =
      tiny_llama::textbook_run(llama.config(), *weights, key_owners, ids, {}, value_owners).logits;
  double worst = 0;
  for (std::size_t t = 0; t < ids.size(); ++t)
    for (std::size_t v = 0; v < 61; ++v)
      worst = std::max(worst, std::abs(static_cast<double>(logits[t * 61 + v]) - expected[t][v]));
  CHECK(worst < 2e-5);
  const auto one_map = tiny_llama::logits(llama.config(), *weights, key_owners, ids);
  CHECK(std::abs(one_map.back()[0] - expected.back()[0]) > 1e-4);

  auto whole = cache_for(plan, 2), brief = cache_for(plan);
  CHECK(largest_difference(run(whole, whole.create(), ids, outputs::last_logits, {.short_prefill = false}),
                           run(brief, brief.create(), ids, outputs::last_logits)) < 1e-6);
  workspace w;
  const sequence_slice slice{whole.create(), 0, 23};
  (void)whole.append(slice.id, 23);
  (void)forward(llama, whole, {&slice, 1}, ids, {.short_prefill = false}, w);
  CHECK(w.counters.kv_rows == 6 * 23);  // three planes of keys and three of values
}

TEST_CASE("tokens taken out of the cache are masked, and the others stay where they stood") {
  const std::vector<int>& owners = owner_lists[2];
  const auto ids = text(30);
  const auto gone = [](std::size_t t) { return t < 16 && t % 3 == 1; };  // taken out behind the 18th token
  const auto expected =
      tiny_llama::textbook_run(llama.config(), *weights, owners, ids, {}, {},
                               [&](std::size_t t, std::size_t other) { return t >= 18 && gone(other); });
  const model_config& c = llama.config();
  kvsharer::shared_cache<float, kvsharer::layout::paged<4>> cache(
      share_map::from_owners(owners).value(), {c.layers, c.kv_heads, c.head_dim, 32}, {.positions = true});
  const sequence_id id = cache.create();
  (void)run(cache, id, std::span(ids).first(18), outputs::last_logits);
  std::vector<index_t> kept;
  for (index_t slot = 0; slot < 18; ++slot)
    if (!gone(static_cast<std::size_t>(slot))) kept.push_back(slot);
  cache.keep(id, kept);

  workspace w;
  std::size_t at = 18;
  double worst = 0;
  for (const std::size_t tokens : {1, 7, 1, 3}) {  // decode, and a chunk
    const auto some = std::span(ids).subspan(at, tokens);
    const index_t removed = cache.next_position(id) - cache.length(id), count = static_cast<index_t>(tokens);
    CHECK(removed == 5);
    const sequence_slice slice{id, cache.append(id, count), count, removed};
    const auto logits = forward(llama, cache, {&slice, 1}, some, {.want = outputs::all_logits}, w);
    for (std::size_t t = 0; t < tokens; ++t, ++at)
      for (std::size_t v = 0; v < 61; ++v)
        worst = std::max(worst, std::abs(static_cast<double>(logits[t * 61 + v]) - expected.logits[at][v]));
  }
  CHECK(worst < 2e-5);
  const auto unmasked = tiny_llama::logits(llama.config(), *weights, owners, ids);
  CHECK(std::abs(unmasked.back()[0] - expected.logits.back()[0]) > 1e-4);
}

/// What an engine without a layer map has: keys and values per layer, [token][kv_head][channel].
struct unshared_store {
  kvsharer::share_plan identity = share_map::identity(llama.config().layers);
  std::vector<std::vector<float>> all_keys{6}, all_values{6};
  index_t length = 0;

  const kvsharer::share_plan& sharing() const { return identity; }
  index_t append(sequence_id, index_t tokens) { return std::exchange(length, length + tokens); }
  void store(kvsharer::layer_id l, sequence_id, index_t, index_t tokens, const float* keys, const float* values) {
    const auto layer = static_cast<std::size_t>(l.value);
    all_keys[layer].insert(all_keys[layer].end(), keys, keys + tokens * 20);
    all_values[layer].insert(all_values[layer].end(), values, values + tokens * 20);
  }
  using view = kvsharer::layer_view<float, kvsharer::layout::strided_index>;
  view keys(kvsharer::layer_id l, sequence_id) const { return of(all_keys[static_cast<std::size_t>(l.value)]); }
  view values(kvsharer::layer_id l, sequence_id) const { return of(all_values[static_cast<std::size_t>(l.value)]); }
  static view of(const std::vector<float>& plane) { return {plane.data(), {.head = 10, .token = 20}}; }
};

TEST_CASE("under the identity map nothing changes, bit for bit") {
  const std::vector<int> ids = text(20);
  unshared_store plain;
  auto cache = cache_for(share_map::identity(6));
  const sequence_id id = cache.create();
  CHECK(run(cache, id, ids, outputs::all_logits) == run(plain, {0}, ids, outputs::all_logits));
  for (int next : {7, 19, 3}) {
    const std::vector<int> one{next};
    CHECK(run(cache, id, one, outputs::last_logits) == run(plain, {0}, one, outputs::last_logits));
  }
}

TEST_CASE("projecting the keys and values of readers changes no bit, and leaving them out saves the work") {
  const std::vector<int> ids = text(20);
  const share_map map = share_map::from_owners(owner_lists[1]).value();
  for (const auto want : {outputs::all_logits, outputs::last_logits}) {
    auto a = cache_for(map), b = cache_for(map);
    const sequence_id in_a = a.create(), in_b = b.create();
    CHECK(run(a, in_a, ids, want) == run(b, in_b, ids, want, {.project_readers = true}));
    CHECK(run(a, in_a, text(1), want) == run(b, in_b, text(1), want, {.project_readers = true}));
  }
  workspace w;
  for (const bool readers : {false, true}) {
    auto cache = cache_for(map);
    const sequence_slice slice{cache.create(), 0, 20};
    cache.append(slice.id, 20);
    w.counters = {};
    forward(llama, cache, {&slice, 1}, ids, {.want = outputs::all_logits, .project_readers = readers}, w);
    CHECK(w.counters == work_counters{.layer_rows = 6 * 20, .kv_rows = 2 * (readers ? 6 : 4) * 20});
  }
}

TEST_CASE("prefill and decode agree, and so do chunked and whole prefill, under every map") {
  const std::vector<int> ids = text(40);
  const std::span<const int> all(ids);
  for (const auto& owners : owner_lists) {
    const share_map map = share_map::from_owners(owners).value();
    auto whole_cache = cache_for(map);
    const std::vector<float> whole = run(whole_cache, whole_cache.create(), all, outputs::all_logits);

    auto decoded = cache_for(map);
    const sequence_id id = decoded.create();
    CHECK(largest_difference(run(decoded, id, all.first(29), outputs::last_logits), row_of(whole, 28)) < 1e-5);
    for (std::size_t t = 29; t < 40; ++t)
      CHECK(largest_difference(run(decoded, id, all.subspan(t, 1), outputs::last_logits), row_of(whole, t)) < 1e-5);

    auto chunked = cache_for(map);
    const sequence_id in_chunks = chunked.create();
    std::size_t from = 0;
    for (const std::size_t chunk : std::initializer_list<std::size_t>{7, 1, 16, 2, 14}) {
      const auto part = run(chunked, in_chunks, all.subspan(from, chunk), outputs::all_logits);
      from += chunk;
      CHECK(largest_difference({part.data() + part.size() - 61, 61}, row_of(whole, from - 1)) < 1e-5);
    }
  }
}

TEST_CASE("a ragged batch runs as its sequences do one by one") {
  const std::vector<std::vector<int>> texts{text(9, 2), text(1, 3), text(30, 4), text(17, 5)};
  const share_map map = share_map::from_owners(owner_lists[1]).value();
  auto cache = cache_for(map, 4, kvsharer::layout::paged<>{8});
  std::vector<int> ids;
  std::vector<sequence_slice> slices;
  for (const auto& t : texts) {
    const sequence_id id = cache.create();
    slices.push_back({id, cache.append(id, static_cast<index_t>(t.size())), static_cast<index_t>(t.size())});
    ids.insert(ids.end(), t.begin(), t.end());
  }
  workspace w;
  const auto batch = [&](std::span<const int> batch_ids) {
    const auto out = forward(llama, cache, slices, batch_ids, {}, w);
    return std::vector<float>(out.begin(), out.end());
  };
  const std::vector<float> prefill = batch(ids);
  for (sequence_slice& s : slices) s = {s.id, cache.append(s.id, 1), 1};
  const std::vector<int> next{5, 6, 7, 8};
  const std::vector<float> step = batch(next);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    auto alone = cache_for(map);
    const sequence_id id = alone.create();
    CHECK(largest_difference(run(alone, id, texts[i], outputs::last_logits), row_of(prefill, i)) < 1e-5);
    CHECK(largest_difference(run(alone, id, {&next[i], 1}, outputs::last_logits), row_of(step, i)) < 1e-5);
  }
}

TEST_CASE("paged and contiguous caches give the same bits") {
  const std::vector<int> ids = text(50);
  const share_map map = share_map::from_owners(owner_lists[2]).value();
  const auto logits = [&](auto cache) {
    const sequence_id id = cache.create();
    std::vector<float> all = run(cache, id, ids, outputs::all_logits);
    for (int next : {4, 44, 14}) {
      const auto step = run(cache, id, std::vector<int>{next}, outputs::last_logits);
      all.insert(all.end(), step.begin(), step.end());
    }
    return all;
  };
  const auto expected = logits(cache_for(map));
  CHECK(logits(cache_for(map)) == expected);
  CHECK(logits(cache_for(map, 1, kvsharer::layout::token_major{})) == expected);
  CHECK(logits(cache_for(map, 1, kvsharer::layout::paged<16>{})) == expected);
  CHECK(logits(cache_for(map, 1, kvsharer::layout::paged<>{1})) == expected);
  CHECK(logits(cache_for(map, 1, kvsharer::layout::paged<>{7})) == expected);
}

TEST_CASE("short prefill gives the last logits of the whole, for less work") {
  const std::vector<int> ids = text(33);
  for (const auto& owners : owner_lists) {
    const share_map map = share_map::from_owners(owners).value();
    const int last_owner = map.last_owner().value;
    std::vector<float> logits[2];
    for (const bool shorter : {false, true}) {
      auto cache = cache_for(map);
      const sequence_id id = cache.create();
      const sequence_slice slice{id, cache.append(id, 33), 33};
      workspace w;
      const auto out = forward(llama, cache, {&slice, 1}, ids, {.short_prefill = shorter}, w);
      logits[shorter] = {out.begin(), out.end()};
      const index_t rows = shorter ? 33 * last_owner + (6 - last_owner) : 33 * 6;
      CHECK(w.counters == work_counters{.layer_rows = rows, .kv_rows = 33 * 2 * map.owner_count()});
      // The cache is complete, so decoding goes on as ever.
      const auto next = run(cache, id, std::vector<int>{9}, outputs::last_logits);
      logits[shorter].insert(logits[shorter].end(), next.begin(), next.end());
    }
    CHECK(largest_difference(logits[0], logits[1]) < 1e-5);
  }
}

/// Three layers of two heads, 32 tokens, 10 channels: the same numbers as keys and as values.
struct averages {
  static constexpr auto space = kvsharer::memory_space::host;
  const std::vector<float>& numbers;
  kvsharer::cache_shape shape() const { return {3, 2, 10, 32}; }
  index_t length() const { return 32; }
  kvsharer::layer_view<float, kvsharer::layout::strided_index> keys(kvsharer::layer_id l) const {
    return {numbers.data() + l.value * 640, {.head = 320, .token = 10}};
  }
  auto values(kvsharer::layer_id l) const { return keys(l); }
};

TEST_CASE("distances of keys before and after rotation agree") {
  // Turning is an isometry, and averaging over samples at one position commutes with it.
  const kvsharer::rope_table rope({}, 10, 32);
  std::vector<float> before(3 * 2 * 32 * 10);  // [layer][head][token][channel]
  std::mt19937 bits(3);
  for (float& x : before) x = static_cast<float>(bits() % 2001) / 1000.0f - 1.0f;
  std::vector<float> after = before;
  for (std::size_t row = 0; row < 3 * 2 * 32; ++row)
    rope.rotate(after.data() + row * 10, 1, static_cast<index_t>(row % 32));
  CHECK(largest_difference(before, after) > 0.1);

  const auto pre = layer_distances(kvsharer::cpu::backend{}, averages{before}, kvsharer::metric::mean_row_norm{});
  const auto post = layer_distances(kvsharer::cpu::backend{}, averages{after}, kvsharer::metric::mean_row_norm{});
  for (const auto pair : kvsharer::all_pairs(3)) CHECK(pre(pair) == doctest::Approx(post(pair)).epsilon(1e-6));
}

TEST_CASE("what does not fit the model is refused before anything is stored") {
  auto cache = cache_for(share_map::identity(6));
  const sequence_id id = cache.create();
  cache.append(id, 4);
  workspace w;
  const auto code = [&](auto& store, sequence_slice slice, const std::vector<int>& ids) {
    try {
      forward(llama, store, {&slice, 1}, ids, {}, w);
    } catch (const kvsharer::error& e) {
      return e.code();
    }
    return kvsharer::errc{};
  };
  using kvsharer::errc;
  CHECK(code(cache, {id, 0, 4}, {1, 2, 3}) == errc::bad_argument);
  CHECK(code(cache, {id, 0, 4}, {1, 2, 3, 61}) == errc::bad_argument);
  CHECK(code(cache, {id, 0, 4}, {1, 2, -3, 4}) == errc::bad_argument);
  CHECK(code(cache, {id, 126, 4}, {1, 2, 3, 4}) == errc::bad_argument);
  CHECK(code(cache, {id, 0, 0}, {}) == errc::bad_argument);
  kvsharer::shared_cache<> other(share_map::identity(5), {5, 2, 10, 8});
  const sequence_id in_other = other.create();
  other.append(in_other, 4);
  CHECK(code(other, {in_other, 0, 4}, {1, 2, 3, 4}) == errc::bad_argument);
  CHECK(code(cache, {id, 0, 4}, {1, 2, 3, 4}) == errc{});
}

}  // namespace
