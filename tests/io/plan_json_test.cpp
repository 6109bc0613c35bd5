// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/io/plan_json.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "kvsharer/io/python_map.hpp"

using namespace kvsharer;

namespace {

plan_file example() {
  plan_file f;
  f.model = {4, 2, 64, "half-split theta=10000 scaling=none", "0123abcd"};
  f.plan = share_map::from_owners(std::vector{0, 1, 0, 0}).value();
  search_evidence& s = f.evidence.emplace();
  s.settings = {2, 0.5, "mean-row-norm", "random", 18446744073709551615u, "mean-of-cosines", 30, 64};
  s.report.plan = f.plan.sharing();
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
  return f;
}

/// As `mini_llama plan` writes it: without a search.
plan_file bare() {
  plan_file f = example();
  f.evidence.reset();
  return f;
}

/// What read_plan says of a text; empty if it reads it.
std::string refusal_text(const std::string& text) {
  try {
    (void)read_plan(text, "x.json");
  } catch (const error& e) {
    CHECK(std::string(e.what()).find("x.json") != std::string::npos);
    return e.what();
  }
  return "";
}

errc refusal(const std::string& text) {
  try {
    (void)read_plan(text, "x.json");
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

TEST_CASE("an alignment is named where there is one, and lies beside the plan") {
  plan_file s = example();
  CHECK_FALSE(read_plan(write_plan(s)).alignment.has_value());
  CHECK(write_plan(s).find("alignment") == std::string::npos);
  s.alignment = {"found.align.safetensors", "0123456789abcdef", "shared", 1.0 / 3, false, "one"};
  const std::string text = write_plan(s);
  CHECK(read_plan(text).alignment == s.alignment);
  CHECK(write_plan(read_plan(text)) == text);
  for (const char* elsewhere : {"", "/etc/passwd", "../x", "a/b", "..", "a\\\\b"})
    CHECK(refusal(replaced(text, "found.align.safetensors", elsewhere)) == errc::plan_syntax);
  CHECK(refusal(replaced(text, "\"0123456789abcdef\"", "7")) == errc::plan_syntax);
  CHECK(refusal(replaced(text, "\"ridge\"", "\"bridge\"")) == errc::plan_syntax);
}

TEST_CASE("a plan comes back as it was written, to the last bit") {
  const plan_file file = example(), again = read_plan(write_plan(file));
  REQUIRE(again.evidence.has_value());
  const search_evidence &s = *file.evidence, &back = *again.evidence;
  CHECK(again.model == file.model);
  CHECK(again.plan == file.plan);
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
  CHECK(write_plan(again) == write_plan(file));
}

TEST_CASE("what only best-first searches say comes back, and is not there for others") {
  CHECK(write_plan(example()).find("beam") == std::string::npos);
  plan_file s = example();
  s.evidence->settings.order = "best";
  s.evidence->settings.threshold = -std::numeric_limits<double>::infinity();
  s.evidence->settings.beam = 3;
  s.evidence->settings.exact = true;
  s.evidence->report.candidates[0].outcome = verdict::outscored;
  const std::string text = write_plan(s);
  CHECK(text.find("\"threshold\":null") != std::string::npos);
  const plan_file back = read_plan(text);
  CHECK(back.evidence->settings == s.evidence->settings);
  CHECK(back.evidence->report.candidates[0].outcome == verdict::outscored);
  CHECK(write_plan(back) == text);
}

TEST_CASE("the file is for people too: one candidate and one matrix row a line") {
  const std::string text = write_plan(example());
  CHECK(text.find("\"key_map\": [0,1,0,0],\n  \"value_map\": [0,1,0,0],\n") != std::string::npos);
  for (const char* row : {"\n      [0.0,0.0,0.0,0.0],\n", "\"verdict\":\"not finite\""})
    CHECK(text.find(row) != std::string::npos);
}

TEST_CASE("what is not a plan is refused with the file's name and the reason") {
  const std::string good = write_plan(example());
  CHECK(refusal(good) == errc{0});
  CHECK(refusal("") == errc::plan_syntax);
  CHECK(refusal("{}") == errc::plan_syntax);
  CHECK(refusal("[1, 2]") == errc::plan_syntax);
  CHECK(refusal(good.substr(0, good.size() / 2)) == errc::plan_syntax);
  CHECK(refusal(replaced(good, "\"kvsharer_plan\": 3", "\"kvsharer_plan\": 4")) == errc::plan_version);
  CHECK(refusal(replaced(good, "\"kvsharer_plan\": 3", "\"kvsharer_plan\": \"three\"")) == errc::plan_version);
  CHECK(refusal(replaced(good, "[0,1,0,0]", "[0,1,3,0]")) == errc::bad_map);
  CHECK(refusal(replaced(good, "[0,1,0,0]", "[0,1,0]")) == errc::bad_map);
  CHECK(refusal(replaced(good, "[0,1,0,0]", "[0,1,\"a\",0]")) == errc::plan_syntax);
  CHECK(refusal(replaced(good, "\"accepted\"", "\"liked\"")) == errc::plan_syntax);
  CHECK(refusal(replaced(good, "      [0.0,0.0,0.0,0.0],\n", "")) == errc::plan_syntax);
  CHECK(refusal(replaced(good, "\"score\": 0.30000000000000004", "\"score\": null")) == errc::plan_syntax);
}

TEST_CASE("whole numbers are whole and within their range, and what nests deeply is refused like the rest") {
  const std::string good = write_plan(example());
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
  CHECK(refusal("{\"kvsharer_plan\":" + deep + "}") == errc::plan_version);
}

TEST_CASE("a plan of another model is refused, naming what differs") {
  model_identity other = example().model;
  check_same_model(example().model, other);
  other.head_dim = 128;
  other.fingerprint = "ffff";
  CHECK_THROWS_WITH_AS(check_same_model(example().model, other),
                       doctest::Contains("was made for another model: head_dim 64 (this model: 128), fingerprint "
                                         "\"0123abcd\" (this model: \"ffff\"); search again on this one"),
                       error);
}

TEST_CASE("keys and values with maps of their own have their own evidence, and rules for what they store") {
  plan_file f = example();
  search_evidence& s = *f.evidence;
  s.settings.order = "best";
  s.settings.beam = 1;
  s.settings.apart = true;
  f.plan = share_plan(f.plan.sharing().keys(), share_map::from_owners(std::vector{0, 0, 2, 2}).value());
  s.report.plan = f.plan.sharing();
  s.report.candidates[0].part = kv_part::keys;
  s.report.candidates[2].part = kv_part::values;
  const std::string text = write_plan(f);
  CHECK(text.find("\"key_map\": [0,1,0,0],\n  \"value_map\": [0,0,2,2],\n  \"key_codec\": \"0-1:native\",\n"
                  "  \"value_codec\": \"0-2:native\",\n  \"selector\": \"0-2:none\",\n") != std::string::npos);
  const plan_file back = read_plan(text);
  CHECK(back.plan == f.plan);
  CHECK(back.evidence->report.plan == f.plan.sharing());
  CHECK(back.evidence->settings == s.settings);
  for (std::size_t i = 0; i < 3; ++i) CHECK(back.evidence->report.candidates[i].part == s.report.candidates[i].part);
  CHECK(write_plan(back) == text);
  CHECK(refusal(replaced(text, "\"value_map\"", "\"other_map\"")) == errc::plan_syntax);
  CHECK(refusal(replaced(text, "[0,0,2,2]", "[0,0,3,2]")) == errc::bad_map);
  CHECK(refusal(replaced(text, "[0,0,2,2]", "[0,0,2]")) == errc::bad_map);
  CHECK(refusal(replaced(text, "\"part\":\"keys\"", "\"part\":\"locks\"")) == errc::plan_syntax);
  CHECK_THROWS_WITH_AS((void)python_map(back.plan.sharing()),
                       "kvsharer E304: the Python dictionary {layer: source} takes one map for keys and values, and "
                       "those of this plan differ from layer 1 on",
                       error);
}

TEST_CASE("a plan without a search has no evidence, and its bytes are these") {
  const std::string text = write_plan(bare());
  CHECK(text ==
        "{\n  \"kvsharer_plan\": 3,\n"
        "  \"model\": {\"fingerprint\":\"0123abcd\",\"head_dim\":64,\"kv_heads\":2,\"layers\":4,"
        "\"rope\":\"half-split theta=10000 scaling=none\"},\n"
        "  \"key_map\": [0,1,0,0],\n  \"value_map\": [0,1,0,0],\n"
        "  \"key_codec\": \"0-1:native\",\n  \"value_codec\": \"0-1:native\",\n"
        "  \"selector\": \"0-1:none\",\n  \"budget\": \"none\"\n}\n");
  const plan_file back = read_plan(text);
  CHECK_FALSE(back.evidence.has_value());
  CHECK(back.plan == bare().plan);
  CHECK(write_plan(back) == text);
  const plan_file nothing{};
  CHECK(write_plan(read_plan(write_plan(nothing))) == write_plan(nothing));
}

TEST_CASE("files of the schemas before plans are refused, and the refusal says what to do") {
  for (const char* schema : {"1", "2", "99"}) {
    const std::string text = std::string("{\"kvsharer_strategy\": ") + schema + ", \"layer_map\": [0,0]}";
    CHECK(refusal(text) == errc::plan_version);
    CHECK(refusal_text(text) == std::string("kvsharer E602: x.json is a strategy file of an early version, schema ") +
                                    schema + "; search again, or make a plan of its map with mini_llama plan --map");
  }
}

TEST_CASE("a field that this version does not know is refused by name, wherever it stands") {
  const std::string good = write_plan(example());
  plan_file aligned = example();
  aligned.alignment = {"found.align.safetensors", "0123456789abcdef", "shared", 1.0 / 3, false, "one"};
  const auto with_field = [&](const std::string& before) {
    const std::string text = replaced(write_plan(aligned), before, "\"later\": 1, " + before);
    CHECK(refusal(text) == errc::plan_syntax);
    return refusal_text(text);
  };
  for (const auto& place : {std::pair{"\"key_map\"", "the plan"}, std::pair{"\"head_dim\"", "\"model\""},
                            std::pair{"\"ridge\"", "\"alignment\""}, std::pair{"\"status\"", "\"evidence\""},
                            std::pair{"\"metric\"", "\"options\""}, std::pair{"\"pairs_ranked\"", "\"counts\""},
                            std::pair{"\"verdict\"", "a candidate"}}) {
    CAPTURE(place.first);
    CHECK(with_field(place.first).find(place.second + std::string(" has the field \"later\"")) != std::string::npos);
  }
  CHECK(refusal(replaced(good, "\"budget\": \"none\"", "\"budgets\": \"none\"")) == errc::plan_syntax);
  CHECK(refusal(replaced(write_plan(bare()), "\"budget\": \"none\"", "\"evidence\": {\"scores\": []}")) ==
        errc::plan_syntax);
}

TEST_CASE("rules that this version does not have, or that do not fit the maps, are refused") {
  const std::string good = write_plan(bare());
  const auto with = [&](const std::string& field, const std::string& now) {
    const auto begin = good.find("\"" + field + "\": \"") + field.size() + 5, end = good.find('"', begin);
    return refusal_text(good.substr(0, begin) + now + good.substr(end));
  };
  CHECK(with("key_codec", "0-1:native") == "");
  CHECK(with("key_codec", "0-3:native") == "");
  CHECK(with("key_codec", "0:native,1:native") == "");
  const auto says = [](const std::string& text, const std::string& part) { return text.find(part) != text.npos; };
  CHECK(says(with("key_codec", "0-1:kivi:bits=2"), "E306: there is no codec \"kivi\"; this version has: native"));
  CHECK(says(with("value_codec", "0:native,1:fp8"), "E306: there is no codec \"fp8\""));
  CHECK(says(with("selector", "0-1:snapkv"), "E306: there is no selector \"snapkv\"; this version has: none"));
  CHECK(says(with("budget", "pyramid:share=20%"), "E306: there is no budget \"pyramid\""));
  CHECK(says(with("budget", ""), "E305"));
  CHECK(says(with("key_codec", "native"), "E305"));
  CHECK(says(with("key_codec", "0:native"), "leaves out layer 1"));
  CHECK(says(with("key_codec", "1-0:native"), "run backwards"));
  CHECK(says(with("key_codec", "0-1:native,1:native"), "overlap"));
  CHECK(says(with("key_codec", "0-4:native"), "outside a model of 4 layers"));
  CHECK(says(with("key_codec", "0-1:native,2-3:native"), "layers 2-3, which store nothing"));
  CHECK(refusal(replaced(good, "\"0-1:native\"", "[\"native\"]")) == errc::plan_syntax);
  CHECK(refusal(replaced(good, "\"none\"\n", "null\n")) == errc::plan_syntax);
}

TEST_CASE("an engine's own methods are read where it names them") {
  static constexpr std::array codecs{known_method{"native"}, known_method{"packed", "bits"}};
  plan_file f = bare();
  f.plan = cache_plan::make(f.plan.sharing(), {.key_codecs = parse_layer_ranges("0:native,1:packed:bits=2").value()},
                            {codecs})
               .value();
  const std::string text = write_plan(f);
  CHECK(text.find("\"key_codec\": \"0:native,1:packed:bits=2\"") != std::string::npos);
  CHECK(refusal(text) == errc::unknown_method);
  CHECK(read_plan(text, "x.json", {codecs}).plan == f.plan);
  CHECK(write_plan(read_plan(text, "x.json", {codecs})) == text);
}

TEST_CASE("evidence of another plan is not written") {
  plan_file f = example();
  f.plan = share_map::identity(4);
  CHECK_THROWS_AS((void)write_plan(f), error);
}

TEST_CASE("the map as the Python tools take it") {
  CHECK(python_map(example().plan.sharing()) == "{0: 0, 1: 1, 2: 0, 3: 0}");
}
