// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/io/strategy_json.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kvsharer/io/python_map.hpp"

using namespace kvsharer;

namespace {

strategy example() {
  strategy s;
  s.model = {4, 2, 64, "half-split theta=10000 scaling=none", "0123abcd"};
  s.settings = {2, 0.5, "mean-row-norm", "random", 18446744073709551615u, "mean-of-cosines", 30, 64};
  s.report.plan = share_map::from_owners(std::vector{0, 1, 0, 0}).value();
  s.report.score = 0.1 + 0.2;
  s.report.pairs_ranked = 6;
  s.report.pairs_skipped = 1;
  s.report.layer_evaluations = 9;
  s.report.layer_evaluations_without_resume = 12;
  s.report.candidates = {{{{2}, {0}}, kv_part::both, 0, 7.25, 0.9, verdict::accepted, {2}},
                         {{{3}, {1}}, kv_part::both, 2, 5.5, std::nan(""), verdict::not_finite, {3}},
                         {{{3}, {0}}, kv_part::both, 3, 1.0 / 3, 0.1 + 0.2, verdict::accepted, {3}}};
  s.distances = distance_matrix(4);
  for (layer_pair p : all_pairs(4)) s.distances.set(p, std::sqrt(2.0 + p.reader.value * 10 + p.owner.value));
  return s;
}

errc refusal(const std::string& text) {
  try {
    (void)read_strategy(text, "x.json");
  } catch (const error& e) {
    CHECK(std::string(e.what()).find("x.json") != std::string::npos);
    return e.code();
  }
  return errc{0};
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("an alignment is named where there is one, and lies beside the strategy") {
  strategy s = example();
  CHECK_FALSE(read_strategy(write_strategy(s)).alignment.has_value());
  CHECK(write_strategy(s).find("alignment") == std::string::npos);
  s.alignment = {"found.align.safetensors", "0123456789abcdef", "shared", 1.0 / 3, false, "one"};
  const std::string text = write_strategy(s);
  CHECK(read_strategy(text).alignment == s.alignment);
  CHECK(write_strategy(read_strategy(text)) == text);
  for (const char* elsewhere : {"", "/etc/passwd", "../x", "a/b", "..", "a\\\\b"})
    CHECK(refusal(replaced(text, "found.align.safetensors", elsewhere)) == errc::plan_syntax);
  CHECK(refusal(replaced(text, "\"0123456789abcdef\"", "7")) == errc::plan_syntax);
  CHECK(refusal(replaced(text, "\"ridge\"", "\"bridge\"")) == errc::plan_syntax);
}

TEST_CASE("a strategy comes back as it was written, to the last bit") {
  const strategy s = example(), back = read_strategy(write_strategy(s));
  CHECK(back.model == s.model);
  CHECK(back.settings == s.settings);
  CHECK(back.distances == s.distances);
  CHECK(back.report.map() == s.report.map());
  CHECK(back.report.score == s.report.score);
  CHECK(back.report.status == s.report.status);
  CHECK(back.report.pairs_ranked == 6);
  CHECK(back.report.pairs_skipped == 1);
  CHECK(back.report.layer_evaluations == 9);
  CHECK(back.report.layer_evaluations_without_resume == 12);
  REQUIRE(back.report.candidates.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    const candidate &a = back.report.candidates[i], &b = s.report.candidates[i];
    CHECK(a.pair == b.pair);
    CHECK(a.rank == b.rank);
    CHECK(a.distance == b.distance);
    CHECK(a.outcome == b.outcome);
    CHECK(a.resumed_at == b.resumed_at);
    CHECK((std::isnan(b.score) ? std::isnan(a.score) : a.score == b.score));
  }
  CHECK(write_strategy(back) == write_strategy(s));
}

TEST_CASE("what only best-first searches say comes back, and is not there for others") {
  CHECK(write_strategy(example()).find("beam") == std::string::npos);
  strategy s = example();
  s.settings.order = "best";
  s.settings.threshold = -std::numeric_limits<double>::infinity();
  s.settings.beam = 3;
  s.settings.exact = true;
  s.report.candidates[0].outcome = verdict::outscored;
  const std::string text = write_strategy(s);
  CHECK(text.find("\"threshold\":null") != std::string::npos);
  const strategy back = read_strategy(text);
  CHECK(back.settings == s.settings);
  CHECK(back.report.candidates[0].outcome == verdict::outscored);
  CHECK(write_strategy(back) == text);
}

TEST_CASE("the file is for people too: one candidate and one matrix row a line") {
  const std::string text = write_strategy(example());
  CHECK(text.find("\"layer_map\": [0,1,0,0],\n") != std::string::npos);
  for (const char* row : {"\n    [0.0,0.0,0.0,0.0],\n", "\"verdict\":\"not finite\""})
    CHECK(text.find(row) != std::string::npos);
}

TEST_CASE("what is not a strategy is refused with the file's name and the reason") {
  const std::string good = write_strategy(example());
  CHECK(refusal(good) == errc{0});
  CHECK(refusal("") == errc::plan_syntax);
  CHECK(refusal("{}") == errc::plan_syntax);
  CHECK(refusal("[1, 2]") == errc::plan_syntax);
  CHECK(refusal(good.substr(0, good.size() / 2)) == errc::plan_syntax);
  CHECK(refusal(replaced(good, "\"kvsharer_strategy\": 1", "\"kvsharer_strategy\": 3")) == errc::plan_version);
  CHECK(refusal(replaced(good, "\"kvsharer_strategy\": 1", "\"kvsharer_strategy\": \"one\"")) ==
        errc::plan_version);
  CHECK(refusal(replaced(good, "[0,1,0,0]", "[0,1,3,0]")) == errc::bad_map);
  CHECK(refusal(replaced(good, "[0,1,0,0]", "[0,1,0]")) == errc::bad_map);
  CHECK(refusal(replaced(good, "[0,1,0,0]", "[0,1,\"a\",0]")) == errc::plan_syntax);
  CHECK(refusal(replaced(good, "\"accepted\"", "\"liked\"")) == errc::plan_syntax);
  CHECK(refusal(replaced(good, "    [0.0,0.0,0.0,0.0],\n", "")) == errc::plan_syntax);
  CHECK(refusal(replaced(good, "\"score\": 0.30000000000000004", "\"score\": null")) == errc::plan_syntax);
}

TEST_CASE("whole numbers are whole and within their range, and what nests deeply is refused like the rest") {
  const std::string good = write_strategy(example());
  const auto with_share = [&](const std::string& number) {
    const auto at = good.find("\"share\":");
    REQUIRE(at != good.npos);
    const auto begin = at + 8, end = good.find_first_of(",}", begin);
    return good.substr(0, begin) + number + good.substr(end);
  };
  CHECK(refusal(with_share("3")) == errc{0});
  CHECK(refusal(with_share("-2147483648")) == errc{0});
  for (const std::string number :
       {"1.5", "1e300", "2147483648", "-2147483649", "18446744073709551615", "true", "[1]"}) {
    CAPTURE(number);
    CHECK(refusal(with_share(number)) == errc::plan_syntax);
  }
  CHECK(refusal(replaced(good, "[0,1,0,0]", "[0,1.5,0,0]")) == errc::plan_syntax);
  CHECK(refusal(replaced(good, "[0,1,0,0]", "{\"0\":0}")) == errc::plan_syntax);
  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  CHECK(refusal("{\"kvsharer_strategy\":" + deep + "}") == errc::plan_version);
}

TEST_CASE("a strategy of another model is refused, naming what differs") {
  model_identity other = example().model;
  check_same_model(example().model, other);
  other.head_dim = 128;
  other.fingerprint = "ffff";
  CHECK_THROWS_WITH_AS(check_same_model(example().model, other),
                       "kvsharer E603: the strategy was made for another model: head_dim 64 (this model: 128), "
                       "fingerprint \"0123abcd\" (this model: \"ffff\"); search again on this one",
                       error);
}

TEST_CASE("keys and values with maps of their own have two maps in a file of the second version") {
  strategy s = example();
  s.settings.order = "best";
  s.settings.beam = 1;
  s.settings.apart = true;
  const share_map values = share_map::from_owners(std::vector{0, 0, 2, 2}).value();
  s.report.plan = share_plan(s.report.plan.keys(), values);
  s.report.candidates[0].part = kv_part::keys;
  s.report.candidates[2].part = kv_part::values;
  const std::string text = write_strategy(s);
  CHECK(text.find("\"kvsharer_strategy\": 2,\n  \"key_map\": [0,1,0,0],\n  \"value_map\": [0,0,2,2],\n") !=
        std::string::npos);
  CHECK(text.find("layer_map") == std::string::npos);
  const strategy back = read_strategy(text);
  CHECK(back.report.plan == s.report.plan);
  CHECK(back.settings == s.settings);
  for (std::size_t i = 0; i < 3; ++i) CHECK(back.report.candidates[i].part == s.report.candidates[i].part);
  CHECK(write_strategy(back) == text);
  CHECK(refusal(replaced(text, "\"value_map\"", "\"other_map\"")) == errc::plan_syntax);
  CHECK(refusal(replaced(text, "[0,0,2,2]", "[0,0,3,2]")) == errc::bad_map);
  CHECK(refusal(replaced(text, "[0,0,2,2]", "[0,0,2]")) == errc::bad_map);
  CHECK(refusal(replaced(text, "\"part\":\"keys\"", "\"part\":\"locks\"")) == errc::plan_syntax);
  CHECK_THROWS_WITH_AS((void)python_map(back.report.plan),
                       "kvsharer E304: the Python dictionary {layer: source} takes one map for keys and values, and "
                       "those of this plan differ from layer 1 on",
                       error);
}

TEST_CASE("a file without a second map means one for both") {
  const strategy back = read_strategy(write_strategy(example()));
  CHECK(back.report.plan.is_one_map());
  CHECK(back.report.plan.values() == example().report.map());
}

TEST_CASE("the map as the Python tools take it") {
  CHECK(python_map(example().report.map()) == "{0: 0, 1: 1, 2: 0, 3: 0}");
}
