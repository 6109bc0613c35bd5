// SPDX-License-Identifier: Apache-2.0
// The code of docs/reference/budgets.md.
#include <doctest/doctest.h>

#include <vector>

#include "kvsharer/kvsharer.hpp"

TEST_CASE("a budget is asked with numbers, and answers with numbers") {
  const kvsharer::share_plan plan = kvsharer::share_map::from_owners(std::vector{0, 1, 2, 3, 3, 2}).value();
  const kvsharer::index_t kv_heads = 2, prompt = 1000;
  // What the engine measured in each layer: here, 100 more tokens in every layer hold most of the attention.
  std::vector<double> needed;
  for (int layer = 0; layer < 6; ++layer) needed.insert(needed.end(), 2, 100.0 * (layer + 1));

  // [ask]
  using namespace kvsharer;
  const budget_request request{.sets = token_sets(plan).count(),
                               .kv_heads = kv_heads,
                               .tokens = prompt,
                               .average = budget::tokens_left(.9, prompt),  // nine tenths are removed
                               .least = 32};                                // the newest, in every head
  const token_budget pyramid = budget::pyramidkv{}.spread({}, request).value();

  const std::vector<double> spread = budget::over_readers(plan, needed, kv_heads, budget::readers::largest);
  const token_budget by_need = budget::zigzagkv{.floor = .2}.spread({.spread = spread}, request).value();
  // [/ask]
  CHECK(pyramid.total() == 4 * 2 * 100);
  CHECK(pyramid.tokens == std::vector<index_t>{165, 165, 122, 122, 78, 78, 35, 35});
  // 20 for each, and 320 as 1 : 2 : 6 : 5, since the readers of the last two owners need more than these.
  CHECK(by_need.tokens == std::vector<index_t>{43, 43, 66, 66, 157, 157, 134, 134});
}
