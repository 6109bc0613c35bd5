// SPDX-License-Identifier: Apache-2.0
// The code of docs/how-to/what-an-engine-calls.md.
#include <doctest/doctest.h>

#include <cstdint>
#include <deque>
#include <sstream>
#include <string>
#include <vector>

#include "kvsharer/cpu.hpp"
#include "kvsharer/io/plan_json.hpp"

namespace {

using namespace kvsharer;

constexpr index_t kv_heads = 2, head_dim = 4, heads = 4;
using cache_type = shared_cache<bfloat16, layout::paged<4>>;

struct projected {
  std::vector<float> keys, values, queries;
};

/// What a forward pass would compute: here, numbers that follow from layer, token and position.
projected project(layer_id l, std::span<const std::int32_t> tokens, index_t first) {
  projected p;
  for (std::size_t t = static_cast<std::size_t>(first); t < tokens.size(); ++t) {
    for (index_t i = 0; i < kv_heads * head_dim; ++i) {
      p.keys.push_back(static_cast<float>((tokens[t] * 7 + static_cast<int>(t) + l.value * 3 + i * 5) % 11) - 5);
      p.values.push_back(static_cast<float>((tokens[t] * 3 + static_cast<int>(t) * 5 + l.value + i) % 13) - 6);
    }
    for (index_t i = 0; i < heads * head_dim; ++i) p.queries.push_back(static_cast<float>((i + l.value) % 3) - 1);
  }
  return p;
}

// [request]
struct request {
  std::vector<std::int32_t> tokens;  // the engine keeps them; the cache knows none
  sequence_id id = {};
};

struct engine {
  cache_type cache;
  prefix_index<> prefixes;       // beside the cache, of the same pages
  std::deque<request> finished;  // not dropped yet: others may begin as they did
  cpu::attention_scratch scratch;

  engine(const share_plan& plan, cache_shape shape, const shared_cache_options& options, std::uint64_t salt)
      : cache(plan, shape, options), prefixes(cache.page_tokens(), plan, salt) {}
  // [/request]

  // [admit]
  /// Gives a request its pages and says how many of its tokens are there already. False: no room for it yet.
  bool admit(request& r, index_t& known) {
    const std::span<const std::int32_t> tokens = r.tokens;
    do {
      const prefix_hit hit = prefixes.find(tokens.first(tokens.size() - 1));  // one is left to run, for its output
      sequence_id made;
      try {
        made = hit.tokens > 0 ? cache.fork(hit.id) : cache.create();
        cache.truncate(made, hit.tokens);  // whole pages, so nothing is copied when it grows
        cache.append(made, static_cast<index_t>(tokens.size()) - hit.tokens);
        r.id = made;
        known = hit.tokens;
        return true;
      } catch (const error& e) {
        if (e.code() != errc::pages_exhausted && e.code() != errc::sequences_exhausted) throw;
        if (cache.alive(made)) cache.drop(made);
      }
    } while (make_room());
    return false;
  }
  // [/admit]

  // [room]
  bool make_room() {
    if (finished.empty()) return false;  // then let the request wait, or end one that runs and let that wait
    end(finished.front());
    finished.pop_front();
    return true;
  }
  void end(const request& r) {
    cache.drop(r.id);
    prefixes.erase(r.id);
  }
  // [/room]

  // [forward]
  /// The tokens [first, end) of a request, which have been appended.
  std::vector<float> forward(const request& r, index_t first) {
    const auto rows = static_cast<index_t>(r.tokens.size()) - first;
    std::vector<float> out(static_cast<std::size_t>(rows * heads * head_dim));
    for (layer_id l{0}; l.value < cache.plan().layers(); ++l.value) {
      const projected p = project(l, r.tokens, first);  // keys and values only where the layer owns its cache
      if (cache.owns(l)) cache.store(l, r.id, first, rows, p.keys.data(), p.values.data());
      cpu::attend({heads, kv_heads, head_dim}, cache.keys(l, r.id), cache.values(l, r.id), first, rows,
                  p.queries.data(), out.data(), scratch, 0, kv_heads);
    }
    prefixes.update(r.id, r.tokens);  // now all owners have them
    return out;
  }
  // [/forward]
};

}  // namespace

TEST_CASE("an engine from its plan to its reset") {
  const model_identity running{
      .layers = 4, .kv_heads = kv_heads, .head_dim = head_dim, .rope = "none", .fingerprint = "0a1b"};
  const std::string text = write_plan({running, share_map::from_owners(std::vector{0, 1, 1, 3}).value()});
  const std::uint64_t weights_hash = 0x0a1b;

  // [start]
  const plan_file found = read_plan(text, "model.kvsharer.json");
  check_same_model(found.model, running);  // throws E603 and names what differs
  engine e(found.plan.sharing(), {.layers = 4, .kv_heads = kv_heads, .head_dim = head_dim, .capacity = 32},
           {.max_sequences = 4, .pages = 8, .tag = running.fingerprint}, weights_hash);
  // [/start]
  const std::size_t token_bytes = 3 * 2 * kv_heads * head_dim * sizeof(bfloat16);

  request a{{1, 2, 3, 4, 5, 6, 7, 8, 9}}, b{{1, 2, 3, 4, 5, 6, 7, 8, 2, 2}};
  index_t known = -1;
  REQUIRE(e.admit(a, known));
  CHECK(known == 0);
  e.forward(a, known);
  REQUIRE(e.admit(b, known));
  CHECK(known == 8);
  const std::vector<float> shared = e.forward(b, known);
  CHECK(e.cache.counters().pages_shared == 2);
  CHECK(e.cache.counters().pages_in_use == 4);

  // [step]
  a.tokens.push_back(7);  // sampled
  b.tokens.push_back(3);
  const std::vector<sequence_growth> step{{a.id, 1}, {b.id, 1}};
  e.cache.append(step);  // both or neither
  e.forward(a, 9);
  e.forward(b, 10);
  // [/step]

  // [draft]
  e.cache.append(b.id, 3);
  b.tokens.insert(b.tokens.end(), {4, 4, 4});
  e.forward(b, 11);     // all three in one pass
  b.tokens.resize(12);  // and only the first was right
  e.cache.truncate(b.id, 12);
  e.prefixes.truncate(b.id, 12);
  // [/draft]
  CHECK(e.prefixes.known_tokens(b.id) == 12);
  CHECK(e.cache.length(b.id) == 12);

  // [save]
  std::stringstream bytes;
  e.cache.save(a.id, bytes);
  e.end(a);
  a.id = e.cache.restore(bytes);  // another id; the rows of a cache with this map and tag only
  e.prefixes.update(a.id, a.tokens);
  // [/save]
  CHECK(e.prefixes.find(std::vector<std::int32_t>{1, 2, 3, 4, 5, 6, 7, 8}).tokens == 8);

  // [export]
  const cache_counters now = e.cache.counters();
  const std::size_t scratch = e.scratch.bytes();  // the cache knows of none
  const double hit_rate =
      static_cast<double>(e.prefixes.counters().tokens_hit) / static_cast<double>(e.prefixes.counters().tokens_asked);
  // [/export]
  CHECK(now.tokens == 10 + 12);
  CHECK(now.logical == 22 * token_bytes);
  CHECK(now.physical == 6 * 4 * token_bytes);  // b's pages, and a's again: restored sequences share none
  CHECK(now.slots_empty == 2);
  CHECK(scratch > 0);
  CHECK(hit_rate == 16.0 / (8 + 9 + 8));

  // Two pages are free: one more request finds room when one that ended is let go.
  e.finished.push_back(a);
  request c{{9, 9, 9, 9, 9, 9, 9, 9, 9}};
  REQUIRE(e.admit(c, known));
  CHECK(e.finished.empty());
  request d{std::vector<std::int32_t>(32, 1)};
  CHECK_FALSE(e.admit(d, known));
  CHECK(e.cache.counters().sequences == 2);

  // The same tokens alone give the last layer the same rows.
  engine alone(share_map::identity(4), e.cache.shape(), {}, 0);
  request again{{1, 2, 3, 4, 5, 6, 7, 8, 2, 2}};
  REQUIRE(alone.admit(again, known));
  const std::vector<float> whole = alone.forward(again, known);
  CHECK(whole.size() == 10 * heads * head_dim);
  for (std::size_t i = 0; i < shared.size(); ++i)
    CHECK(shared[i] == doctest::Approx(static_cast<double>(whole[8 * heads * head_dim + i])));

  // [reset]
  e.cache.clear();  // addresses stay, so captured graphs stay valid
  e.prefixes.clear();
  e.finished.clear();
  // [/reset]
  CHECK(e.cache.free_pages() == 8);
}
