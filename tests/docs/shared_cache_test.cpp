// SPDX-License-Identifier: Apache-2.0
// The code of docs/how-to/use-shared-cache.md and docs/reference/layouts.md.
#include <doctest/doctest.h>

#include <sstream>
#include <vector>

#include "kvsharer/cpu.hpp"

namespace {

using namespace kvsharer;

/// `tokens` rows of the two heads of two channels, all distinct.
std::vector<float> some_rows(index_t tokens, float from) {
  std::vector<float> rows(static_cast<std::size_t>(tokens * 4));
  for (float& x : rows) x = from += 1;
  return rows;
}

// [layout]
/// [token][channel][kv_head]: the heads of one channel are neighbours.
struct heads_innermost {
  struct index_type {
    index_t heads = 0, channels = 0, base = 0;
    static constexpr bool rows_contiguous = false;
    index_t offset(index_t head, index_t token, index_t channel) const {
      return base + (token * channels + channel) * heads + head;
    }
  };
  index_t page_tokens(cache_shape s) const { return s.capacity; }  // a sequence is one page
  index_type index(cache_shape s, const std::int32_t* pages) const {
    return {s.kv_heads, s.head_dim, pages[0] * s.kv_heads * s.head_dim * s.capacity};
  }
  const char* name() const { return "heads innermost"; }
};
static_assert(require_cache_layout<heads_innermost>());
// [/layout]

}  // namespace

TEST_CASE("from the map to the first row") {
  const share_map map = share_map::from_owners(std::vector{0, 1, 0, 1}).value();
  // [create]
  // Four layers of 2 KV heads with 2 channels; at most 8 sequences of 64 tokens, in pages of 16, stored as bfloat16.
  const cache_shape shape{.layers = 4, .kv_heads = 2, .head_dim = 2, .capacity = 64};
  shared_cache<bfloat16, layout::paged<16>> cache(map, shape, {.max_sequences = 8, .pages = 20});
  // [/create]

  const index_t tokens = 3;
  const std::vector<float> keys = some_rows(tokens, 0), values = some_rows(tokens, 100);
  // [store]
  const sequence_id chat = cache.create();
  const index_t first = cache.append(chat, tokens);  // once per step, for all layers
  for (layer_id l{0}; l.value < map.layers(); ++l.value)
    if (cache.owns(l)) cache.store(l, chat, first, tokens, keys.data(), values.data());  // [token][kv_heads * head_dim]
  // [/store]
  CHECK(cache.length(chat) == 3);

  const std::vector<float> queries = some_rows(tokens, 7);
  std::vector<float> out(queries.size());
  // [attend]
  const layer_id reader{3};
  cpu::attend({.heads = 2, .kv_heads = 2, .head_dim = 2}, cache.keys(reader, chat), cache.values(reader, chat), first,
              tokens, queries.data(), out.data());
  // [/attend]
  CHECK(cache.keys(reader, chat).at(1, 2, 1) == cache.keys({1}, chat).at(1, 2, 1));
  CHECK(out[0] == 101.0f);  // the first row sees itself alone

  // [ragged]
  const sequence_id other = cache.create();
  const std::vector<sequence_growth> step{{chat, 1}, {other, 40}};
  cache.append(step);  // both, or neither if pages run out
  // [/ragged]
  CHECK(cache.length(chat) == 4);
  CHECK(cache.length(other) == 40);

  // [fork]
  const sequence_id draft = cache.fork(chat);  // shares all pages until one of the two grows
  cache.append(draft, 4);
  cache.truncate(draft, 5);  // three of the four drafted tokens were wrong
  cache.drop(draft);
  // [/fork]
  CHECK(!cache.alive(draft));

  // [save]
  std::stringstream bytes;
  cache.save(chat, bytes);
  cache.drop(chat);
  const sequence_id again = cache.restore(bytes);
  // [/save]
  CHECK(cache.length(again) == 4);
  CHECK(cache.keys({0}, again).at(0, 0, 0) == 1.0f);

  // [footprint]
  const cache_footprint bytes_now = cache.footprint();
  CHECK(bytes_now.keys == 2 * 20 * 16 * 2 * 2 * sizeof(bfloat16));  // 2 owners, 20 pages of 16 tokens, 2 heads of 2
  CHECK(bytes_now.logical == kv_bytes(map, shape, sizeof(bfloat16), 4 + 40));
  // [/footprint]
}

TEST_CASE("what a cache refuses, it refuses before it writes") {
  // [refused]
  shared_cache<float, layout::paged<>> cache(share_map::identity(2), {2, 1, 8, 64}, {.pages = 2}, layout::paged<>{16});
  const sequence_id id = cache.create();
  try {
    cache.append(id, 33);  // needs three pages
  } catch (const error& refusal) {
    CHECK(refusal.code() == errc::pages_exhausted);
    CHECK(cache.length(id) == 0);
  }
  // [/refused]
  CHECK(cache.free_pages() == 2);
}

TEST_CASE("a layout of your own holds the same numbers") {
  const cache_shape shape{1, 2, 2, 8};
  shared_cache<float, heads_innermost> mine(share_map::identity(1), shape);
  shared_cache<> usual(share_map::identity(1), shape);
  const std::vector<float> keys = some_rows(5, 0), values = some_rows(5, 50);
  const sequence_id a = mine.create(), b = usual.create();
  mine.append(a, 5);
  usual.append(b, 5);
  mine.store({0}, a, 0, 5, keys.data(), values.data());
  usual.store({0}, b, 0, 5, keys.data(), values.data());
  for (index_t head = 0; head < 2; ++head)
    for (index_t token = 0; token < 5; ++token)
      for (index_t channel = 0; channel < 2; ++channel) {
        CHECK(mine.keys({0}, a).at(head, token, channel) == usual.keys({0}, b).at(head, token, channel));
        CHECK(mine.values({0}, a).at(head, token, channel) == usual.values({0}, b).at(head, token, channel));
      }
  CHECK(mine.key_plane({0})[1] == keys[2]);  // token 0, channel 0, head 1
}

TEST_CASE("lists of single heads give pages back") {
  // [lists]
  shared_cache<float, layout::paged<4>> cache(share_map::from_owners(std::vector<int>{0, 0}).value(), {2, 2, 4, 64},
                                              {.positions = true, .lists = list_scope::head});
  const sequence_id id = cache.create();
  cache.append(id, 16);                        // 4 pages for each head's keys, and 4 for its values
  const index_t list = cache.list_of({1}, 1);  // KV head 1 of what layer 1 reads
  cache.keep(id, list, std::vector<index_t>{0, 1, 12, 13, 14, 15});  // 2 pages of keys and 2 of values go back
  // [/lists]
  CHECK(cache.pages() - cache.free_pages() == 2 * 4 + 2 * 2);
  CHECK(cache.length(id, list) == 6);
  CHECK(cache.position(id, 2, list) == 12);
  CHECK(cache.length(id, cache.list_of({1}, 0)) == 16);
}
