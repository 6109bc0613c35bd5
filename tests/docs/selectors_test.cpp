// SPDX-License-Identifier: Apache-2.0
// The code of docs/reference/selectors.md.
#include <doctest/doctest.h>

#include <vector>

#include "kvsharer/kvsharer.hpp"

TEST_CASE("an engine measures, a budget divides, a selector chooses, and the cache drops the rest") {
  using namespace kvsharer;
  const cache_shape shape{.layers = 1, .kv_heads = 2, .head_dim = 4, .capacity = 64};
  const index_t prompt = 20, heads = 4;
  shared_cache<float, layout::paged<4>> cache(share_map::identity(1), shape,
                                              {.positions = true, .lists = list_scope::head});
  const sequence_id id = cache.create();
  cache.append(id, prompt);
  std::vector<float> votes(static_cast<std::size_t>(heads * (prompt - 4)), 0.01f);  // [heads][older]
  votes[3] = votes[16 + 3] = .9f;                                                   // KV head 0: token 3
  for (const std::size_t t : {1u, 5u, 9u, 13u}) votes[2 * 16 + t] = .3f;            // KV head 1: all over the text

  // [choose]
  const select::snapkv snapkv{.window = 4, .kernel = 3, .also = {.sinks = 1}};
  const std::vector<float> scores = snapkv.scores(votes, heads, shape.kv_heads);

  const budget_request request{.sets = 1,
                               .kv_heads = shape.kv_heads,
                               .tokens = prompt,
                               .average = budget::tokens_left(.5, prompt),
                               .least = snapkv.window};
  const token_budget tokens = budget::adakv<>{}.spread({.scores = scores}, request).value();

  const select::kept_tokens kept = snapkv.kept(scores, tokens.tokens, prompt);
  for (index_t head = 0; head < shape.kv_heads; ++head)
    cache.keep(id, cache.list_of({0}, head), kept[static_cast<std::size_t>(head)]);
  // [/choose]

  CHECK(tokens.tokens == std::vector<index_t>{7, 13});  // 12 places beside the windows: 3 of head 0 are over .01
  CHECK(kept[0] == std::vector<index_t>{0, 2, 3, 16, 17, 18, 19});
  CHECK(cache.length(id, cache.list_of({0}, 0)) == 7);
  CHECK(cache.length(id, cache.list_of({0}, 1)) == 13);
  CHECK(cache.position(id, 2, cache.list_of({0}, 0)) == 3);
  CHECK(cache.next_position(id) == prompt);
}
