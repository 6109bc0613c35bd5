// SPDX-License-Identifier: Apache-2.0
// Selectors against numbers worked out by hand, and sets that the papers' descriptions give.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <numeric>
#include <optional>
#include <vector>

#include "kvsharer/select/h2o.hpp"
#include "kvsharer/select/observed_attention.hpp"
#include "kvsharer/select/pyramidinfer.hpp"
#include "kvsharer/select/snapkv.hpp"
#include "kvsharer/select/streaming_llm.hpp"
#include "select/floats.hpp"
#include "thrown.hpp"

using namespace kvsharer;
using namespace kvsharer::select;
using slots = std::vector<index_t>;

TEST_CASE("snapkv: votes of the window, pooled, and the window") {
  // Two window queries over six older tokens; the rest of their attention is in the window.
  const floats votes =
      over_rows(floats{.10f, .02f, .30f, .03f, .05f, .20f, .12f, .03f, .25f, .02f, .08f, .15f}, 2, reduce::sum);
  close(votes, {.22f, .05f, .55f, .05f, .13f, .35f});
  const index_t five[] = {5};
  const auto kept = [&](const snapkv& s) { return s.kept(s.scores(votes, 1, 1), five, 8).front(); };
  CHECK(kept({.window = 2, .kernel = 1, .pool = pooling::none}) == slots{0, 2, 5, 6, 7});
  CHECK(kept({.window = 2, .kernel = 3, .pool = pooling::average}) == slots{1, 2, 3, 6, 7});
  CHECK(kept({.window = 2, .kernel = 3, .pool = pooling::average_inside}) == slots{1, 3, 5, 6, 7});
  CHECK(kept({.window = 2, .kernel = 3, .pool = pooling::largest}) == slots{1, 2, 3, 6, 7});
  // Sinks are part of the budget, not beside it.
  CHECK(kept({.window = 2, .kernel = 3, .pool = pooling::largest, .also = {.sinks = 1}}) == slots{0, 1, 2, 6, 7});
}

TEST_CASE("snapkv: groups, other counts for each head, short prompts, and refusals") {
  // Four query heads, two KV heads, three older tokens.
  const floats votes{1, 0, 0, 0, 0, 3, 0, 4, 0, 2, 0, 0};
  const snapkv s{.window = 2, .kernel = 1};
  close(s.scores(votes, 4, 2), {.5f, 0, 1.5f, 1, 2, 0});
  const index_t counts[] = {3, 4};
  CHECK(s.kept(s.scores(votes, 4, 2), counts, 5) == kept_tokens{{2, 3, 4}, {0, 1, 3, 4}});
  const snapkv largest{.window = 2, .kernel = 1, .group = reduce::largest};
  close(largest.scores(votes, 4, 2), {1, 0, 3, 2, 4, 0});
  const index_t many[] = {5, 9};
  CHECK(s.kept(s.scores(votes, 4, 2), many, 5) == kept_tokens{{0, 1, 2, 3, 4}, {0, 1, 2, 3, 4}});
  const index_t window_alone[] = {3, 2};
  CHECK(thrown([&] { s.kept(s.scores(votes, 4, 2), window_alone, 5); }) == errc::bad_argument);
  CHECK(thrown([&] { s.kept(floats(5), counts, 5); }) == errc::bad_shape);
  CHECK(thrown([&] { s.kept(floats(6), {}, 5); }) == errc::bad_shape);
  CHECK(s.kept({}, many, 1) == kept_tokens{{0}, {0}});  // shorter than the window
  CHECK(s.kept({}, window_alone, 2) == kept_tokens{{0, 1}, {0, 1}});
  CHECK(s.kept({}, many, 0) == kept_tokens{{}, {}});
  // A list with holes: the sink stands at position 0, which is gone.
  const snapkv sink{.window = 2, .kernel = 1, .also = {.sinks = 1}};
  const slots positions{1, 4, 5, 8, 9};
  const index_t three[] = {3};
  CHECK(sink.kept(floats{0, 1, 0}, three, 5, positions) == kept_tokens{{1, 3, 4}});
  CHECK(sink.kept(floats{0, 1, 0}, three, 5) == kept_tokens{{0, 3, 4}});
}

TEST_CASE("h2o: the prompt, and two steps of decode") {
  // Six attention rows; their column sums.
  const floats rows{1,   0,   0,   0,   0, 0, .6f, .4f, 0,   0,   0,   0, .5f, .2f,  .3f,  0,    0,    0,
                    .4f, .1f, .2f, .3f, 0, 0, .3f, .1f, .3f, .1f, .2f, 0, .3f, .05f, .25f, .05f, .15f, .2f};
  floats sums = over_rows(rows, 6, reduce::sum);
  close(sums, {3.10f, .85f, 1.05f, .45f, .35f, .20f});
  const index_t four[] = {4};
  const h2o method;
  const kept_tokens kept = method.kept(sums, four);
  CHECK(kept == kept_tokens{{0, 2, 4, 5}});
  slots positions = kept.front();
  const auto keep = [&](const slots& which) {
    floats of_kept;
    slots at;
    for (const index_t s : which) {
      of_kept.push_back(sums[static_cast<std::size_t>(s)]);
      at.push_back(positions[static_cast<std::size_t>(s)]);
    }
    sums = of_kept;
    positions = at;
  };
  positions = {0, 1, 2, 3, 4, 5};
  keep(kept.front());
  CHECK(method.dropped(sums, 4) == std::nullopt);

  // Token 6 attends; four and five have .45 and .40, but five is recent by then.
  const auto step = [&](index_t position, const floats& row) {
    sums.push_back(0);
    positions.push_back(position);
    add_attention(sums, row);
    const std::optional<index_t> gone = method.dropped(sums, 4);
    REQUIRE(gone);
    const index_t at = positions[static_cast<std::size_t>(*gone)];
    sums.erase(sums.begin() + *gone);
    positions.erase(positions.begin() + *gone);
    return at;
  };
  CHECK(step(6, {.35f, .15f, .10f, .20f, .20f}) == 4);
  close(sums, {3.45f, 1.20f, .40f, .20f});
  CHECK(step(7, {.20f, .05f, .60f, .05f, .10f}) == 5);  // though it was attended to just now
  close(sums, {3.65f, 1.25f, .25f, .10f});
  CHECK(positions == slots{0, 2, 6, 7});
}

TEST_CASE("h2o: halves, ties, what is kept beside, groups, refusals") {
  CHECK(h2o::recent_of(9) == 5);
  const h2o method;
  const floats even(6, 1.0f);
  CHECK(method.dropped(even, 5) == 2);     // of the three that are not recent the newest
  CHECK(method.dropped(even, 5, 0) == 5);  // nobody is
  CHECK(method.dropped(even, 5, 5) == 0);  // a plain window
  CHECK(method.dropped(even, 6) == std::nullopt);
  CHECK(h2o{.also = {.sinks = 2}}.dropped(floats{0, 1, 5, 2, 2, 2}, 5, 3) == 2);
  CHECK(thrown([&] { h2o{.also = {.sinks = 3}}.dropped(even, 5, 3); }) == errc::bad_argument);
  CHECK(thrown([&] { method.dropped(floats{1, 2, std::nanf(""), 4}, 3); }) == errc::not_finite);
  const index_t counts[] = {2, 3};
  CHECK(method.kept(floats{9, 1, 1, 0, 0, 0, 7, 8}, counts) == kept_tokens{{0, 3}, {0, 2, 3}});
  floats sums{1, 2};
  add_attention(sums, floats{.5f, .25f, .5f, .25f});  // two query heads
  close(sums, {2, 2.5f});
  CHECK(thrown([&] { add_attention(sums, floats{1, 2, 3}); }) == errc::bad_shape);
}

TEST_CASE("observed_attention: sums over the queries that saw a token, and no window") {
  const observed_attention o;
  const floats scores = o.scores(floats{3.10f, .85f, 1.05f, .45f, .35f, .20f}, 1, 1);
  close(scores, {.516667f, .17f, .2625f, .15f, .175f, .2f});
  const index_t three[] = {3};
  CHECK(o.kept(scores, three) == kept_tokens{{0, 2, 5}});
  CHECK(observed_attention{.also = {.recent = 2}}.kept(scores, three) == kept_tokens{{0, 4, 5}});
}

TEST_CASE("streaming_llm: sinks and the newest, with room for what comes in") {
  const streaming_llm s{.sinks = 4};
  CHECK(s.kept(8, 8) == slots{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(s.kept(8, 8, 1) == slots{0, 1, 2, 3, 5, 6, 7});  // and the new token is the eighth
  CHECK(s.kept(12, 8) == slots{0, 1, 2, 3, 8, 9, 10, 11});
  CHECK(s.kept(8, 8, 3) == slots{0, 1, 2, 3, 7});
  CHECK(s.kept(8, 8, 4) == slots{0, 1, 2, 3});
  CHECK(s.kept(8, 8, 100) == slots{0, 1, 2, 3});  // as many as that leave the sinks alone
  CHECK(s.kept(3, 8, 2) == slots{0, 1, 2});
  CHECK(s.kept(3, 5, 3) == slots{0, 1, 2});  // a stream shorter than its sinks
  CHECK(s.kept(0, 5).empty());
  CHECK(streaming_llm{.sinks = 0}.kept(6, 2) == slots{4, 5});
  for (const index_t count : {4, 0, -1}) CHECK(thrown([&] { s.kept(8, count); }) == errc::bad_argument);
  CHECK(thrown([&] { s.kept(8, 8, -1); }) == errc::bad_argument);
  CHECK(s.kept(6, 5, 0, slots{0, 1, 2, 3, 9, 10}) == slots{0, 1, 2, 3, 5});
}

TEST_CASE("streaming_llm: a stream never holds more, and its first tokens are there for ever") {
  const streaming_llm s{.sinks = 3};
  slots stream;
  for (index_t t = 0; t < 100; ++t) {
    slots after;
    for (const index_t k : s.kept(static_cast<index_t>(stream.size()), 10, 1, stream))
      after.push_back(stream[static_cast<std::size_t>(k)]);
    after.push_back(t);
    stream = after;
    CHECK(static_cast<index_t>(stream.size()) == std::min<index_t>(t + 1, 10));
    for (index_t i = 0; i < std::min<index_t>(t + 1, 3); ++i) CHECK(stream[static_cast<std::size_t>(i)] == i);
    if (t >= 10) CHECK(stream[3] == t - 6);
  }
}

TEST_CASE("renumbered, rows stand at 0, 1, 2, ...: the paper's example, and the angle of a turn") {
  // The cache holds the tokens 0 1 2 3 6 7 8, and 9 is next, at 7.
  CHECK(turns_to_slots(slots{0, 1, 2, 3, 6, 7, 8}) == slots{0, 0, 0, 0, -2, -2, -2});
  // A row that stands at 6, turned by -2, is the row at 4.
  const double at6[] = {std::cos(6.0), std::sin(6.0)};
  const double c = std::cos(-2.0), d = std::sin(-2.0);
  CHECK(at6[0] * c - at6[1] * d == doctest::Approx(std::cos(4.0)));
  CHECK(at6[0] * d + at6[1] * c == doctest::Approx(std::sin(4.0)));
  CHECK(turns_to_slots(slots{}).empty());
}

TEST_CASE("pyramidinfer: the newest rows weigh most, sinks score as the best") {
  const pyramidinfer p{.sinks = 1};
  // Three rows with the weights 1, 1.1 and 1.2 over four older tokens.
  const floats rows{.1f, .2f, .3f, 0, .1f, .2f, 0, .4f, .1f, .2f, 0, .3f};
  close(p.scores(rows, 3), {.8f / 3, .66f / 3, .3f / 3, .8f / 3});
  CHECK(p.kept(p.scores(rows, 3), 7, 5) == slots{0, 3, 4, 5, 6});
  CHECK(p.kept(p.scores(rows, 3), 7, 6) == slots{0, 1, 3, 4, 5, 6});
  CHECK(p.kept(p.scores(rows, 3), 7, 70).size() == 7);
  CHECK(thrown([&] { p.kept(p.scores(rows, 3), 7, 2); }) == errc::bad_argument);
  CHECK(thrown([&] { p.kept(floats(4), 3, 2); }) == errc::bad_shape);
  CHECK(thrown([&] { p.scores(rows, 5); }) == errc::bad_shape);
  CHECK(thrown([&] { pyramidinfer{.distance_weight = 0}.scores(rows, 3); }) == errc::bad_argument);
  close(pyramidinfer{.sinks = 0}.scores(floats{.5f, .25f}, 1), {.5f, .25f});
  CHECK(pyramidinfer{}.scores(floats{}, 3).empty());
  // Of 16 decoded tokens, in 32 layers.
  for (const auto& [depth, kept] : {std::pair<index_t, index_t>{0, 14}, {8, 12}, {16, 7}, {24, 3}, {31, 1}})
    CHECK(pyramidinfer::kept_of_block(16, depth, 32) == kept);
  CHECK(pyramidinfer::kept_of_block(1, 31, 32) == 1);
}
