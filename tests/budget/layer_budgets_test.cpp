// SPDX-License-Identifier: Apache-2.0
// Budgets that depend on depth alone, against numbers worked out by hand and those of the papers' programs.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kvsharer/budget/pyramidinfer.hpp"
#include "kvsharer/budget/pyramidkv.hpp"
#include "kvsharer/budget/uniform.hpp"

using namespace kvsharer;
using tokens = std::vector<index_t>;

namespace {

/// The tokens of each set; the heads agree.
tokens of_sets(const result<token_budget>& b) {
  CHECK(b.value().even_heads());
  tokens all;
  for (index_t s = 0; s < b.value().sets(); ++s) all.push_back(b.value().at(s, 0));
  return all;
}

errc code(const result<token_budget>& b) { return b ? errc{} : b.failure().code(); }

}  // namespace

TEST_CASE("uniform: the average, and short prompts whole") {
  const budget_request r{.sets = 3, .kv_heads = 2, .tokens = 100, .average = 20, .least = 4};
  const token_budget b = budget::uniform{}.spread({}, r).value();
  CHECK(b.tokens == tokens(6, 20));
  CHECK(b.sets() == 3);
  CHECK(b.total() == 120);
  for (const index_t n : {0, 7, 20}) {
    budget_request brief = r;
    brief.tokens = n;
    CHECK(budget::uniform{}.spread({}, brief).value().tokens == tokens(6, n));
  }
}

TEST_CASE("pyramidkv falls in equal steps, and the sum is exact") {
  const budget_request r{.sets = 4, .kv_heads = 2, .tokens = 100, .average = 18, .least = 2};
  CHECK(of_sets(budget::pyramidkv{.beta = 4}.spread({}, r)) == tokens{30, 22, 14, 6});
  for (const index_t sets : {1, 2, 7, 32})
    for (const double beta : {1.0, 2.5, 20.0})
      for (const index_t n : {129, 239, 240, 300, 5000}) {
        const tokens t = of_sets(
            budget::pyramidkv{beta}.spread({}, {.sets = sets, .kv_heads = 1, .tokens = n, .average = 128, .least = 8}));
        index_t sum = 0;
        for (const index_t x : t) sum += x;
        CHECK(sum == sets * 128);
        CHECK(std::is_sorted(t.rbegin(), t.rend()));
        CHECK(t.back() >= 8);
        CHECK(t.front() <= n);
      }
  budget_request even = r;
  CHECK(of_sets(budget::pyramidkv{.beta = 1}.spread({}, even)) == tokens(4, 18));
  even.tokens = 31;  // shorter than twice 16
  CHECK(of_sets(budget::pyramidkv{}.spread({}, even)) == tokens(4, 18));
  even.tokens = 18;
  CHECK(of_sets(budget::pyramidkv{}.spread({}, even)) == tokens(4, 18));
  even.tokens = 11;
  CHECK(of_sets(budget::pyramidkv{}.spread({}, even)) == tokens(4, 11));
}

TEST_CASE("pyramidinfer multiplies shares from layer to layer") {
  // n = 1024, 20 % recent: 205 newest; layer 1 stores all, since the first share is 1, and layer 2 floor(819 * .99976).
  const tokens t = budget::pyramidinfer{}.per_layer(1024, 32);
  CHECK(budget::pyramidinfer{}.newest(1024) == 205);
  CHECK(tokens(t.begin(), t.begin() + 4) == tokens{1024, 1024, 1023, 1022});
  CHECK(t[16] == 824);
  CHECK(t[31] == 380);
  const tokens large = budget::pyramidinfer{.decay = 0.8, .interval = 2}.per_layer(512, 40);
  CHECK(tokens(large.begin(), large.begin() + 4) == tokens{512, 512, 512, 511});
  CHECK(large[20] == 396);
  CHECK(large[39] == 180);
  CHECK(budget::pyramidinfer{.decay = 1}.per_layer(1000, 24) == tokens(24, 1000));
  CHECK(budget::pyramidinfer{}.per_layer(80, 24) == tokens(24, 80));  // 63 others: no layer may have fewer
  CHECK(budget::pyramidinfer{}.per_layer(1, 3) == tokens(3, 1));
  CHECK(budget::pyramidinfer{}.per_layer(0, 3) == tokens(3, 0));
}

TEST_CASE("an owner stores what its layer would store without sharing") {
  const tokens layers = budget::pyramidinfer{}.per_layer(700, 24);
  const index_t depth[] = {0, 5, 11, 20};
  const budget_request r{.sets = 4, .kv_heads = 3, .tokens = 700, .average = 1, .layers = 24, .depth = depth};
  CHECK(of_sets(budget::pyramidinfer{}.spread({}, r)) == tokens{layers[0], layers[5], layers[11], layers[20]});
  const budget_request all{.sets = 24, .kv_heads = 1, .tokens = 700};
  CHECK(of_sets(budget::pyramidinfer{}.spread({}, all)) == layers);
}

TEST_CASE("requests and options that cannot be met are refused by number") {
  const budget_request good{.sets = 2, .kv_heads = 2, .tokens = 50, .average = 10, .least = 4};
  const auto refused = [&](auto change) {
    budget_request r = good;
    change(r);
    CHECK(code(budget::pyramidkv{}.spread({}, r)) == code(budget::uniform{}.spread({}, r)));
    return code(budget::uniform{}.spread({}, r));
  };
  static const index_t one[] = {0}, backwards[] = {3, 2}, fine[] = {3, 7}, negative[] = {-1, 2};
  CHECK(refused([](auto&) {}) == errc{});
  CHECK(refused([](auto& r) { r.sets = 0; }) == errc::bad_shape);
  CHECK(refused([](auto& r) { r.kv_heads = -1; }) == errc::bad_shape);
  CHECK(refused([](auto& r) { r.depth = one; }) == errc::bad_shape);
  CHECK(refused([](auto& r) { r.depth = backwards; }) == errc::bad_shape);
  CHECK(refused([](auto& r) { r.depth = negative; }) == errc::bad_shape);
  CHECK(refused([](auto& r) { r.depth = fine; }) == errc{});
  CHECK(refused([](auto& r) { r.depth = fine, r.layers = 7; }) == errc::bad_shape);
  CHECK(refused([](auto& r) { r.layers = 1; }) == errc::bad_shape);
  CHECK(refused([](auto& r) { r.tokens = -1; }) == errc::bad_argument);
  CHECK(refused([](auto& r) { r.least = -1; }) == errc::bad_argument);
  CHECK(refused([](auto& r) { r.average = 4; }) == errc::bad_argument);
  CHECK(refused([](auto& r) { r.average = r.least = 0; }) == errc::bad_argument);
  for (const double beta : {0.0, 0.99, -1.0, std::nan("")})
    CHECK(code(budget::pyramidkv{beta}.spread({}, good)) == errc::bad_argument);
  CHECK(code(budget::pyramidinfer{.recent = -0.1}.spread({}, good)) == errc::bad_argument);
  CHECK(code(budget::pyramidinfer{.decay = 1.1}.spread({}, good)) == errc::bad_argument);
  CHECK(code(budget::pyramidinfer{.min_context = -1}.spread({}, good)) == errc::bad_argument);
  CHECK(code(budget::pyramidinfer{.interval = 0}.spread({}, good)) == errc::bad_argument);
  budget_request bare = good;
  bare.average = bare.least = 0;  // it decides the total itself
  CHECK(code(budget::pyramidinfer{}.spread({}, bare)) == errc{});
}
