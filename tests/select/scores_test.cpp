// SPDX-License-Identifier: Apache-2.0
// What becomes of attention before tokens are chosen, and how they are chosen. Numbers worked out by hand.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include "kvsharer/select/best_tokens.hpp"
#include "kvsharer/select/kept_anyway.hpp"
#include "kvsharer/select/random_choice.hpp"
#include "kvsharer/select/scores.hpp"
#include "select/floats.hpp"
#include "thrown.hpp"

using namespace kvsharer;
using namespace kvsharer::select;
using slots = std::vector<index_t>;

TEST_CASE("best tokens: the largest, of equal ones the first, in order of age") {
  const floats scores{3, 1, 4, 1, 5, 4};
  CHECK(best_tokens(scores, 0).empty());
  CHECK(best_tokens(scores, 2) == slots{2, 4});
  CHECK(best_tokens(scores, 3) == slots{2, 4, 5});
  CHECK(best_tokens(scores, 5) == slots{0, 1, 2, 4, 5});
  CHECK(best_tokens(scores, 6) == slots{0, 1, 2, 3, 4, 5});
  CHECK(best_tokens(scores, 60) == slots{0, 1, 2, 3, 4, 5});
  CHECK(best_tokens(floats(5, 1.0f), 2) == slots{0, 1});
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(best_tokens(floats{1, -infinity, 0, infinity}, 3) == slots{0, 2, 3});
  CHECK(thrown([&] { best_tokens(scores, -1); }) == errc::bad_argument);
  CHECK(thrown([] { best_tokens(floats{1, std::nanf("")}, 1); }) == errc::not_finite);
}

TEST_CASE("best tokens agree with a sort, whatever the scores") {
  std::mt19937 draw(2);
  for (int i = 0; i < 300; ++i) {
    floats scores(1 + draw() % 40);
    for (float& s : scores) s = static_cast<float>(draw() % 7);  // many are equal
    const auto count = static_cast<index_t>(draw() % (scores.size() + 2));
    slots order(scores.size());
    for (std::size_t s = 0; s < order.size(); ++s) order[s] = static_cast<index_t>(s);
    std::stable_sort(order.begin(), order.end(), [&](index_t a, index_t b) {
      return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
    });
    order.resize(std::min(order.size(), static_cast<std::size_t>(count)));
    std::sort(order.begin(), order.end());
    CHECK(best_tokens(scores, count) == order);
  }
}

TEST_CASE("sinks, the newest and a protected part are kept whatever their score") {
  const floats scores{0, 0, 9, 8, 0, 7, 6, 5, 0, 0};
  const kept_anyway rule{.sinks = 2, .recent = 1, .protected_begin = 4, .protected_end = 5};
  CHECK(slots_kept_anyway(rule, 10) == slots{0, 1, 4, 9});
  CHECK(best_tokens(scores, 4, rule) == slots{0, 1, 4, 9});
  CHECK(best_tokens(scores, 6, rule) == slots{0, 1, 2, 3, 4, 9});
  CHECK(best_tokens(scores, 10, rule).size() == 10);
  CHECK(best_tokens(scores, 11, rule).size() == 10);
  CHECK(thrown([&] { best_tokens(scores, 3, rule); }) == errc::bad_argument);
  // They overlap, and reach beyond the list.
  CHECK(slots_kept_anyway({.sinks = 5, .recent = 7, .protected_begin = 1, .protected_end = 3}, 6).size() == 6);
  CHECK(slots_kept_anyway({.sinks = 3, .recent = 9}, 2) == slots{0, 1});
  CHECK(slots_kept_anyway({}, 3).empty());
  CHECK(best_tokens(floats{1, std::nanf(""), 2}, 2, {.protected_begin = 1, .protected_end = 2}) == slots{1, 2});
}

TEST_CASE("in a list with holes, sinks and the protected part stand by their position") {
  const slots positions{0, 3, 5, 6, 9, 12};
  CHECK(slots_kept_anyway({.sinks = 4, .recent = 1, .protected_begin = 6, .protected_end = 9}, 6, positions) ==
        slots{0, 1, 3, 5});
  CHECK(best_tokens(floats{0, 0, 1, 0, 2, 0}, 4, {.sinks = 4, .recent = 1}, positions) == slots{0, 1, 4, 5});
  CHECK(thrown([&] { slots_kept_anyway({}, 5, positions); }) == errc::bad_shape);
}

TEST_CASE("rows of queries become a score: mean, sum, largest, and for the worst case") {
  const floats rows{.1f, .5f, 0, 0,  // two queries, four tokens
                    .3f, .1f, 0, .2f};
  close(over_rows(rows, 2, reduce::mean), {.2f, .3f, 0, .1f});
  close(over_rows(rows, 2, reduce::sum), {.4f, .6f, 0, .2f});
  close(over_rows(rows, 2, reduce::largest), {.3f, .5f, 0, .2f});
  close(over_rows_defensively(rows, 2), {.3f, .5f, .25f, .25f});  // the mean of .3 .5 0 .2
  CHECK(thrown([&] { over_rows(rows, 3, reduce::sum); }) == errc::bad_shape);
  CHECK(thrown([&] { over_rows(rows, 0, reduce::sum); }) == errc::bad_shape);
  CHECK(over_rows(floats{}, 2, reduce::mean).empty());
}

TEST_CASE("query heads become KV heads, neighbours together") {
  const floats heads{1, 2, 3, 6, 10, 20, 0, 40};  // [4 heads][2 tokens]
  close(over_group(heads, 4, 2, reduce::mean), {2, 4, 5, 30});
  close(over_group(heads, 4, 2, reduce::sum), {4, 8, 10, 60});
  close(over_group(heads, 4, 2, reduce::largest), {3, 6, 10, 40});
  close(over_group(heads, 4, 4, reduce::mean), heads);
  close(over_group(heads, 4, 1, reduce::largest), {10, 40});
  CHECK(thrown([&] { over_group(heads, 4, 3, reduce::mean); }) == errc::bad_shape);
  CHECK(thrown([&] { over_group(heads, 3, 1, reduce::mean); }) == errc::bad_shape);
}

TEST_CASE("pooling shares scores with neighbours, and differs at the ends") {
  const floats votes{.22f, .05f, .55f, .05f, .13f, .35f};
  close(pooled(votes, 1, 3, pooling::none), votes);
  close(pooled(votes, 1, 1, pooling::average), votes);
  close(pooled(votes, 1, 3, pooling::average), {.09f, .273333f, .216667f, .243333f, .176667f, .16f});
  close(pooled(votes, 1, 3, pooling::average_inside), {.135f, .273333f, .216667f, .243333f, .176667f, .24f});
  close(pooled(votes, 1, 3, pooling::largest), {.22f, .55f, .55f, .55f, .35f, .35f});
  CHECK(best_tokens(pooled(votes, 1, 3, pooling::average), 3) == slots{1, 2, 3});
  CHECK(best_tokens(pooled(votes, 1, 3, pooling::average_inside), 3) == slots{1, 3, 5});
  CHECK(best_tokens(pooled(votes, 1, 3, pooling::largest), 3) == slots{1, 2, 3});
  close(pooled(votes, 2, 3, pooling::largest), {.22f, .55f, .55f, .13f, .35f, .35f});  // two heads of three tokens
  close(pooled(floats{2}, 1, 7, pooling::average), {2 / 7.0f});
  const floats more{0, .1f, .9f, 0, 0, .3f, .2f, 0};
  close(pooled(more, 1, 3, pooling::average), {.0333333f, .333333f, .333333f, .3f, .1f, .166667f, .166667f, .0666667f});
  close(pooled(more, 1, 3, pooling::largest), {.1f, .9f, .9f, .9f, .3f, .3f, .3f, .2f});
  CHECK(thrown([&] { pooled(votes, 1, 4, pooling::average); }) == errc::bad_argument);
  CHECK(thrown([&] { pooled(votes, 1, -1, pooling::average); }) == errc::bad_argument);
  CHECK(thrown([&] { pooled(votes, 4, 3, pooling::average); }) == errc::bad_shape);
}

TEST_CASE("scores weighted by values, and by how many queries saw a token") {
  close(weighted_by_values(floats{.5f, .2f}, floats{2, 10}), {1, 2});
  CHECK(thrown([] { weighted_by_values(floats{1}, floats{}); }) == errc::bad_shape);
  close(by_visible_queries(floats{3.1f, .85f, 1.05f, .45f, .35f, .2f}, 1), {.516667f, .17f, .2625f, .15f, .175f, .2f});
  close(by_visible_queries(floats{6, 2, 4, 1}, 2), {3, 2, 2, 1});
}

TEST_CASE("random: the same tokens everywhere, others for another seed, set or head, and each equally often") {
  const random_choice a{.seed = 7};
  CHECK(a.kept(50, 10) == a.kept(50, 10));
  CHECK(a.kept(50, 10).size() == 10);
  CHECK(a.kept(50, 10) != random_choice{.seed = 8}.kept(50, 10));
  CHECK(a.kept(50, 10) != a.kept(50, 10, 1));
  CHECK(a.kept(50, 10) != a.kept(50, 10, 0, 1));
  // Numbers that another program of splitmix64 gave (Python): they must not change.
  CHECK(a.score(0, 0, 0) == 2881272 * 0x1p-24f);
  CHECK(a.score(1, 2, 3) == 1698361 * 0x1p-24f);
  CHECK(a.score(0, 0, 1000000) == 6441978 * 0x1p-24f);
  CHECK(random_choice{}.score(0, 0, 0) == 2175092 * 0x1p-24f);
  const slots kept = random_choice{.seed = 1, .also = {.sinks = 3, .recent = 2}}.kept(40, 9);
  CHECK(slots(kept.begin(), kept.begin() + 3) == slots{0, 1, 2});
  CHECK(slots(kept.end() - 2, kept.end()) == slots{38, 39});
  // A token's number does not depend on the list: choosing twice is choosing once.
  const slots first = a.kept(60, 30), both = a.kept(60, 12);
  slots again;
  for (const index_t s : a.kept(30, 12, 0, 0, first)) again.push_back(first[static_cast<std::size_t>(s)]);
  CHECK(again == both);
  std::vector<int> times(20);
  for (std::uint64_t seed = 0; seed < 2000; ++seed)
    for (const index_t s : random_choice{.seed = seed}.kept(20, 5)) ++times[static_cast<std::size_t>(s)];
  for (const int n : times) CHECK(std::abs(n - 500) < 100);  // five standard deviations
}
