// SPDX-License-Identifier: Apache-2.0
#include "run/prefill_passes.hpp"

#include <doctest/doctest.h>

#include <vector>

using kvsharer::index_t;
using mini_llama::prefill_passes;
using mini_llama::prompt_piece;

TEST_CASE("prompts that fit are one pass") {
  const auto passes = prefill_passes(std::vector<index_t>{3, 1, 4}, 8);
  REQUIRE(passes.size() == 1);
  CHECK(passes[0] == std::vector<prompt_piece>{{0, 0, 3, true}, {1, 0, 1, true}, {2, 0, 4, true}});
}

TEST_CASE("a long prompt is cut where a pass is full, and the next one follows in what is left") {
  const auto passes = prefill_passes(std::vector<index_t>{2, 7, 3}, 4);
  REQUIRE(passes.size() == 3);
  CHECK(passes[0] == std::vector<prompt_piece>{{0, 0, 2, true}, {1, 0, 2, false}});
  CHECK(passes[1] == std::vector<prompt_piece>{{1, 2, 4, false}});
  CHECK(passes[2] == std::vector<prompt_piece>{{1, 6, 1, true}, {2, 0, 3, true}});
}

TEST_CASE("every token runs once and in order, however passes are cut") {
  const std::vector<index_t> lengths{5, 1, 12, 3, 3};
  for (index_t most = 1; most <= 25; ++most) {
    std::vector<index_t> done(lengths.size(), 0), ends(lengths.size(), 0);
    for (const auto& pass : prefill_passes(lengths, most)) {
      index_t rows = 0;
      for (const prompt_piece& p : pass) {
        CHECK(p.tokens > 0);
        CHECK(p.first == done[p.prompt]);
        done[p.prompt] += p.tokens;
        ends[p.prompt] += p.ends;
        CHECK(p.ends == (done[p.prompt] == lengths[p.prompt]));
        rows += p.tokens;
      }
      CHECK(rows <= most);
    }
    CHECK(done == lengths);
    CHECK(ends == std::vector<index_t>(lengths.size(), 1));
  }
  CHECK(prefill_passes({}, 4).empty());
}
