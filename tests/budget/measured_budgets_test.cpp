// SPDX-License-Identifier: Apache-2.0
// Budgets from measured numbers: zigzagkv, baklava, adakv, threshold. Numbers worked out by hand.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "kvsharer/budget/adakv.hpp"
#include "kvsharer/budget/baklava.hpp"
#include "kvsharer/budget/minimum_tokens.hpp"
#include "kvsharer/budget/pyramidkv.hpp"
#include "kvsharer/budget/threshold.hpp"
#include "kvsharer/budget/zigzagkv.hpp"
#include "thrown.hpp"

using namespace kvsharer;
using tokens = std::vector<index_t>;
using numbers = std::vector<double>;
using floats = std::vector<float>;

namespace {

errc code(const result<token_budget>& b) { return b ? errc{} : b.failure().code(); }
}  // namespace

TEST_CASE("minimum_tokens: how many of the largest weights reach a share of all") {
  using budget::minimum_tokens;
  const floats a{.5f, .3f, .1f, .05f, .05f}, b{.9f, .05f, .03f, .01f, .01f}, c(5, .2f);
  CHECK(minimum_tokens(a, .9) == 3);  // .5 + .3 + .1, by the tolerance
  CHECK(minimum_tokens(b, .9) == 1);
  CHECK(minimum_tokens(c, .9) == 5);
  CHECK(minimum_tokens(a, .8) == 2);
  CHECK(minimum_tokens(c, .8) == 4);
  CHECK(minimum_tokens(floats{.05f, .1f, .5f, .05f, .3f}, .9) == 3);  // in any order
  CHECK(minimum_tokens(floats{1, 2, 10, 1, 6}, .9) == 3);             // and in any unit
  CHECK(minimum_tokens(floats(1000, 1), .9) == 900);
  CHECK(minimum_tokens(floats{0, 0, 7}, 1) == 1);
  CHECK(thrown([&] { minimum_tokens(a, 0); }) == errc::bad_argument);
  CHECK(thrown([&] { minimum_tokens(a, 1.5); }) == errc::bad_argument);
  CHECK(thrown([] { minimum_tokens(floats{1, -1}, .9); }) == errc::not_finite);
  CHECK(thrown([] { minimum_tokens(floats{1, std::nanf("")}, .9); }) == errc::not_finite);
  CHECK(thrown([] { minimum_tokens(floats{0, 0}, .9); }) == errc::not_finite);
  CHECK(thrown([] { minimum_tokens(floats{}, .9); }) == errc::not_finite);
}

TEST_CASE("zigzagkv: a floor, and the rest by how many tokens attention needs") {
  const numbers lmba{600, 300, 100, 200};
  budget_request r{.sets = 4, .kv_heads = 1, .tokens = 4096, .average = 128};
  const auto budget_of = [&](double floor) {
    return budget::zigzagkv{.floor = floor}.spread({.spread = lmba}, r).value().tokens;
  };
  CHECK(budget_of(.2) == tokens{230, 128, 60, 94});
  CHECK(budget_of(0) == tokens{256, 128, 43, 85});
  CHECK(budget_of(1) == tokens(4, 128));
  r.tokens = 200;
  CHECK(budget_of(.2) == tokens{200, 143, 65, 104});
  r.tokens = 128;
  CHECK(budget_of(.2) == tokens(4, 128));
  r = {.sets = 4, .kv_heads = 1, .tokens = 4096, .average = 100};
  CHECK(budget::zigzagkv{.floor = .1}.spread({.spread = numbers{7, 3, 2, 1}}, r).value().tokens ==
        tokens{204, 93, 65, 38});
  CHECK(budget::zigzagkv{}.spread({.spread = numbers(4, 0.0)}, r).value().tokens == tokens(4, 100));
}

TEST_CASE("zigzagkv divides a set's tokens among its heads, or gives all the same") {
  const numbers spread{10, 30, 20, 20};  // means 20 and 20
  const budget_request r{.sets = 2, .kv_heads = 2, .tokens = 1000, .average = 100, .least = 8};
  CHECK(budget::zigzagkv{}.spread({.spread = spread}, r).value().tokens == tokens(4, 100));
  CHECK(budget::zigzagkv{.floor = .2, .per_head = true}.spread({.spread = spread}, r).value().tokens ==
        tokens{60, 140, 100, 100});  // 20 + 80 * 2 * 1/4
  CHECK(budget::zigzagkv{}.spread({.spread = numbers{1, 3}}, r).value().tokens == tokens{60, 60, 140, 140});
  CHECK(code(budget::zigzagkv{.per_head = true}.spread({.spread = numbers{1, 3}}, r)) == errc::bad_shape);
}

TEST_CASE("value_change: one minus the cosine of values and what attention makes of them") {
  using budget::value_change;
  const floats v{1, 0, 0, 1, 1, 1};
  CHECK(value_change(v, v, 3, 2) == doctest::Approx(0));
  // Attention rows 1 0 0, .9 .1 0 and .5 .5 0: outputs (1, 0), (.9, .1), (.5, .5), with cosines 1, .110432 and 1.
  const floats out{1, 0, .9f, .1f, .5f, .5f};
  CHECK(value_change(v, out, 3, 2) == doctest::Approx(0.444784).epsilon(1e-5));  // without the first token
  floats longer = v;
  for (float& x : longer) x *= 3;
  CHECK(value_change(longer, out, 3, 2) == doctest::Approx(0.444784).epsilon(1e-5));
  CHECK(value_change(floats{1, 0, 0, 0}, floats{1, 0, 1, 1}, 2, 2) == 1);  // a cosine with zeros is 0
  CHECK(value_change(floats{1, 0, 1, 0}, floats{1, 0, -2, 0}, 2, 2) == doctest::Approx(2));
  CHECK(thrown([&] { value_change(v, out, 1, 6); }) == errc::bad_shape);
  CHECK(thrown([&] { value_change(v, out, 2, 2); }) == errc::bad_shape);
}

TEST_CASE("baklava: important heads get more, and the sum is exact") {
  using rule = budget::baklava::rule;
  const numbers importance{.10, .40, .20, .30};
  const budget_request r{.sets = 2, .kv_heads = 2, .tokens = 1000, .average = 100};
  const auto budget_of = [&](const budget::baklava& b, const numbers& i) {
    const token_budget t = b.spread({.importance = i}, r).value();
    CHECK(t.total() == 400);
    return t.tokens;
  };
  CHECK(budget_of({.by = rule::tempered, .alpha = 1}, importance) == tokens{40, 160, 80, 120});
  CHECK(budget_of({.by = rule::tempered, .alpha = .5}, importance) == tokens{65, 130, 92, 113});
  CHECK(budget_of({.by = rule::tempered, .alpha = 0}, importance) == tokens(4, 100));
  CHECK(budget_of({.low = .5, .high = .25, .kept = .25}, importance) == tokens{25, 250, 25, 100});
  CHECK(budget_of({.low = .5, .high = .25, .kept = .5}, importance) == tokens{50, 200, 50, 100});
  CHECK(budget_of({.by = rule::floor, .floor = .2}, importance) == tokens{52, 148, 84, 116});  // 20 + 320 * i
  for (const rule by : {rule::two_thresholds, rule::tempered, rule::floor}) {
    CHECK(budget_of({.by = by}, numbers(4, .3)) == tokens(4, 100));
    CHECK(budget_of({.by = by}, numbers(4, 0)) == tokens(4, 100));
  }
  // Importance has no unit, and may be as large or small as numbers are.
  for (const double unit : {1e300, 1e-300, 7.0})
    for (const rule by : {rule::two_thresholds, rule::tempered, rule::floor}) {
      numbers other = importance;
      for (double& i : other) i *= unit;
      CHECK(budget_of({.by = by}, other) == budget_of({.by = by}, importance));
      CHECK(budget_of({.by = by, .alpha = 1000}, other) == budget_of({.by = by, .alpha = 1000}, importance));
    }
  // Of equally important heads the first counts as more important.
  CHECK(budget_of({.low = .5, .high = .25, .kept = .5}, {.1, .4, .4, .1}) == tokens{50, 200, 100, 50});
  CHECK(budget_of({.low = 0, .high = .25}, importance) == tokens(4, 100));
}

TEST_CASE("adakv: heads compete, and every one is certain of a part") {
  const floats scores{.6f, .2f,  .1f,  .05f, .05f,  // [3 heads][5 tokens]
                      .3f, .25f, .2f,  .15f, .1f,   //
                      .9f, .04f, .03f, .02f, .01f};
  const auto counts = [&](double safeguard) {
    return budget::adakv<>{.safeguard = safeguard}
        .spread({.scores = scores}, {.sets = 1, .kv_heads = 3, .tokens = 5, .average = 2})
        .value()
        .tokens;
  };
  CHECK(counts(0) == tokens{2, 3, 1});  // .6 .2, .3 .25 .2, .9
  CHECK(counts(.5) == tokens{2, 3, 1});
  CHECK(counts(1) == tokens(3, 2));
  // Two tokens that are kept in any case are beside the scores.
  const token_budget b =
      budget::adakv<>{}
          .spread({.scores = scores}, {.sets = 1, .kv_heads = 3, .tokens = 7, .average = 4, .least = 2})
          .value();
  CHECK(b.tokens == tokens{4, 5, 3});
  CHECK_FALSE(b.even_heads());
  // Equal scores: the lower head wins, and in it the lower token.
  CHECK(budget::share_by_score(floats(6, 1.0f), 2, 0, 4) == tokens{3, 1});
  CHECK(budget::share_by_score(floats(6, 1.0f), 2, 1, 4) == tokens{3, 1});
  CHECK(budget::share_by_score(floats{0, 0, 0, 1, 1, 1}, 2, 1, 4) == tokens{1, 3});
  CHECK(budget::share_by_score(floats{0, 0, 0, 1, 1, 1}, 2, 3, 6) == tokens{3, 3});
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(budget::share_by_score(floats{infinity, infinity, 0, 1, 1, 1}, 2, 0, 3) == tokens{2, 1});
}

TEST_CASE("adakv keeps each set's total of whatever divides the sets, and at least as much attention") {
  std::mt19937 draw(3);
  floats scores(2 * 4 * 90);
  for (float& s : scores) s = static_cast<float>(draw() % 1000) * static_cast<float>(draw() % 1000);
  const budget_request r{.sets = 2, .kv_heads = 4, .tokens = 100, .average = 30, .least = 10};
  const token_budget inner = budget::pyramidkv{.beta = 4}.spread({}, r).value();
  const auto kept_score = [&](const token_budget& b) {
    double sum = 0;
    for (index_t h = 0; h < 8; ++h) {
      floats of_head(scores.begin() + h * 90, scores.begin() + (h + 1) * 90);
      std::sort(of_head.rbegin(), of_head.rend());
      sum += std::accumulate(of_head.begin(), of_head.begin() + (b.tokens[static_cast<std::size_t>(h)] - 10), 0.0);
    }
    return sum;
  };
  double before = std::numeric_limits<double>::infinity();
  for (const double safeguard : {0.0, 0.2, 0.5, 1.0}) {
    const token_budget b = budget::adakv<budget::pyramidkv>{.inner = {.beta = 4}, .safeguard = safeguard}
                               .spread({.scores = scores}, r)
                               .value();
    for (index_t s = 0; s < 2; ++s) {
      index_t of_set = 0, of_inner = 0;
      for (index_t h = 0; h < 4; ++h) {
        of_set += b.at(s, h);
        of_inner += inner.at(s, h);
        CHECK(b.at(s, h) >= 10 + static_cast<index_t>(safeguard * static_cast<double>(inner.at(s, h) - 10)));
      }
      CHECK(of_set == of_inner);
    }
    CHECK(kept_score(b) <= before);
    before = kept_score(b);
  }
  CHECK(before == kept_score(inner));
}

namespace {

/// All that the concept asks for. Its heads are not even.
struct by_hand {
  result<token_budget> spread(const budget_evidence&, const budget_request& r) const {
    return token_budget{.kv_heads = r.kv_heads, .tokens = {5, 9, 3, 7}};
  }
};
static_assert(BudgetPolicy<by_hand> && !BudgetPolicy<int>);

}  // namespace

TEST_CASE("adakv takes any budget, and makes its heads compete within each set") {
  const floats scores{5, 5, 5, 5, 5, 5, 5, 5, 1, 1, 1, 1, 1, 1, 1, 1,   // set 0: all that its head 0 has are better
                      1, 1, 1, 1, 1, 1, 1, 1, 5, 5, 5, 5, 5, 5, 5, 5};  // set 1: the other way round
  const budget_request r{.sets = 2, .kv_heads = 2, .tokens = 10, .average = 6, .least = 2};
  CHECK(budget::adakv<by_hand>{.safeguard = 0}.spread({.scores = scores}, r).value().tokens == tokens{10, 4, 2, 8});
  CHECK(budget::adakv<by_hand>{.safeguard = 1}.spread({.scores = scores}, r).value().tokens == tokens{9, 5, 3, 7});
}

TEST_CASE("threshold: as many tokens as reach a score") {
  const floats scores{.6f, .2f, .1f, .05f, .05f, .3f, .25f, .2f, .15f, .1f};
  const budget_request r{.sets = 1, .kv_heads = 2, .tokens = 8, .average = 8, .least = 3};
  CHECK(budget::threshold{.2f}.spread({.scores = scores}, r).value().tokens == tokens{5, 6});
  CHECK(budget::threshold{0}.spread({.scores = scores}, r).value().tokens == tokens{8, 8});
  CHECK(budget::threshold{1}.spread({.scores = scores}, r).value().tokens == tokens{3, 3});
  budget_request limited = r;
  limited.average = 5;
  CHECK(budget::threshold{.1f}.spread({.scores = scores}, limited).value().tokens == tokens{5, 5});
  CHECK(code(budget::threshold{std::nanf("")}.spread({.scores = scores}, r)) == errc::not_finite);
  CHECK(code(budget::threshold{0}.spread({}, r)) == errc::bad_shape);
}

TEST_CASE("evidence that is missing or no numbers is refused, and so are options") {
  const budget_request r{.sets = 2, .kv_heads = 2, .tokens = 50, .average = 10, .least = 4};
  const numbers good{1, 2, 3, 4}, negative{1, -2, 3, 4}, broken{1, 2, std::nan(""), 4};
  CHECK(code(budget::zigzagkv{}.spread({.spread = good}, r)) == errc{});
  CHECK(code(budget::zigzagkv{}.spread({}, r)) == errc::bad_shape);
  CHECK(code(budget::zigzagkv{}.spread({.spread = negative}, r)) == errc::not_finite);
  CHECK(code(budget::zigzagkv{}.spread({.spread = broken}, r)) == errc::not_finite);
  CHECK(code(budget::zigzagkv{.floor = 1.5}.spread({.spread = good}, r)) == errc::bad_argument);
  CHECK(code(budget::baklava{}.spread({.importance = good}, r)) == errc{});
  CHECK(code(budget::baklava{}.spread({.spread = good}, r)) == errc::bad_shape);
  CHECK(code(budget::baklava{}.spread({.importance = broken}, r)) == errc::not_finite);
  CHECK(code(budget::baklava{.low = .8, .high = .3}.spread({.importance = good}, r)) == errc::bad_argument);
  CHECK(code(budget::baklava{.kept = -1}.spread({.importance = good}, r)) == errc::bad_argument);
  CHECK(code(budget::baklava{.alpha = std::nan("")}.spread({.importance = good}, r)) == errc::bad_argument);
  CHECK(code(budget::baklava{.floor = 2}.spread({.importance = good}, r)) == errc::bad_argument);
  floats scores(4 * 46, 1);
  CHECK(code(budget::adakv<>{}.spread({.scores = scores}, r)) == errc{});
  CHECK(code(budget::adakv<>{.safeguard = 1.1}.spread({.scores = scores}, r)) == errc::bad_argument);
  CHECK(code(budget::adakv<>{}.spread({}, r)) == errc::bad_shape);
  scores[7] = std::nanf("");
  CHECK(code(budget::adakv<>{}.spread({.scores = scores}, r)) == errc::not_finite);
}
