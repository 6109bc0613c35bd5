// SPDX-License-Identifier: Apache-2.0
// The code of docs/how-to/add-a-layout.md.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kvsharer/cpu.hpp"

namespace {

// [layout]
/// Pages of [slot][kv_head][channel]: the heads of a token are neighbours.
struct token_pages {
  kvsharer::index_t tokens = 16;

  KVSHARER_HD kvsharer::index_t page_tokens(kvsharer::cache_shape) const { return tokens; }
  KVSHARER_HD kvsharer::layout::paged_index index(kvsharer::cache_shape s, const std::int32_t* pages) const {
    const kvsharer::index_t token = s.kv_heads * s.head_dim;
    return {.pages = pages, .page_tokens = tokens, .page = tokens * token, .head = s.head_dim, .token = token};
  }
  const char* name() const { return "token pages"; }
};
static_assert(kvsharer::require_cache_layout<token_pages>());
// [/layout]

using namespace kvsharer;

constexpr cache_shape shape{3, 2, 4, 10};  // layers, KV heads, channels, capacity

}  // namespace

TEST_CASE("a layout of your own uses every element of its pages once") {
  // [once]
  const token_pages layout{4};
  const std::vector<std::int32_t> pages{2, 0, 1};
  const auto index = layout.index(shape, pages.data());
  std::vector<int> used(3 * 4 * 2 * 4);  // pages * tokens * heads * channels
  for (index_t token = 0; token < 12; ++token)
    for (index_t head = 0; head < shape.kv_heads; ++head)
      for (index_t channel = 0; channel < shape.head_dim; ++channel)
        ++used.at(static_cast<std::size_t>(index.offset(head, token, channel)));
  CHECK(used == std::vector<int>(used.size(), 1));
  // [/once]
  CHECK(index.offset(1, 5, 3) == 0 * 32 + 1 * 8 + 1 * 4 + 3);  // page 0, slot 1
  CHECK(index.offset(0, 0, 0) == 2 * 32);
}

TEST_CASE("a cache in it holds what is stored, and a fork that grows copies its page") {
  // [use]
  shared_cache<float16, token_pages> cache(share_map::from_owners(std::vector<int>{0, 1, 1}).value(), shape,
                                           {.max_sequences = 2, .pages = 6}, token_pages{4});
  // [/use]
  const sequence_id id = cache.create();
  std::vector<float> keys(5 * 2 * 4), values(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    keys[i] = static_cast<float>(i);
    values[i] = -static_cast<float>(i);
  }
  const index_t first = cache.append(id, 5);
  for (const int l : {0, 1}) cache.store({l}, id, first, 5, keys.data(), values.data());
  const sequence_id other = cache.fork(id);
  cache.append(other, 1);
  for (const sequence_id s : {id, other})
    for (index_t token = 0; token < 5; ++token)
      for (index_t head = 0; head < 2; ++head)
        for (index_t channel = 0; channel < 4; ++channel) {
          const float expected = static_cast<float>((token * 2 + head) * 4 + channel);
          CHECK(cache.keys({2}, s).at(head, token, channel) == expected);  // layer 2 reads layer 1
          CHECK(cache.values({2}, s).at(head, token, channel) == -expected);
        }
  // Two pages of the first, and a copy of the second, into which the fork grew.
  CHECK(cache.pages() - cache.free_pages() == 3);
}
