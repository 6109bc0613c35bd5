// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/layer_ranges.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

using namespace kvsharer;

namespace {

using ranges = std::vector<layer_range>;

ranges parsed(const std::string& text) { return parse_layer_ranges(text).value(); }

std::string refusal(const std::string& text) {
  const auto result = parse_layer_ranges(text);
  REQUIRE_FALSE(result);
  CHECK(result.failure().code() == errc::bad_rule);
  return result.failure().what();
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Spread over 6 layers of which 1, 2 and 5 have none.
result<std::vector<std::string>> spread(const std::string& text) {
  return spread_layer_ranges(parsed(text), 6, [](layer_id l) { return std::set{0, 3, 4}.contains(l.value); });
}

}  // namespace

TEST_CASE("ranges of layers, each with a value") {
  CHECK(parsed("0-3:native,4-23:kivi") == ranges{{{0}, {3}, "native"}, {{4}, {23}, "kivi"}});
  CHECK(parsed("7:x") == ranges{{{7}, {7}, "x"}});
  CHECK(parsed("2-2:x") == ranges{{{2}, {2}, "x"}});
  CHECK(parsed("0:a,2:b") == ranges{{{0}, {0}, "a"}, {{2}, {2}, "b"}});  // a gap is for those who know the layers
}

TEST_CASE("a comma belongs to a value unless a range follows it") {
  CHECK(parsed("0-3:kivi:bits=2,group=32,4:native") ==
        ranges{{{0}, {3}, "kivi:bits=2,group=32"}, {{4}, {4}, "native"}});
  CHECK(parsed("0:a:1=2,3") == ranges{{{0}, {0}, "a:1=2,3"}});
}

TEST_CASE("what is written is read, in its shortest form") {
  for (const std::string text : {"0-3:native,4-23:kivi:bits=2,group=32", "0:a,1:b,2:a", "5-9:x"})
    CHECK(layer_ranges_text(parsed(text)) == text);
  CHECK(layer_ranges_text(parsed("2-2:x")) == "2:x");
  CHECK(layer_ranges_text({}) == "");
}

TEST_CASE("wrong ranges are refused, and the refusal says why") {
  CHECK(says(refusal(""), "begins with no range"));
  CHECK(says(refusal("native"), "begins with no range"));
  CHECK(says(refusal("a:native"), "begins with no range"));
  CHECK(says(refusal("-1:x"), "begins with no range"));
  CHECK(says(refusal("1-:x"), "begins with no range"));
  CHECK(says(refusal("1--2:x"), "begins with no range"));
  CHECK(says(refusal(" 1:x"), "begins with no range"));
  CHECK(says(refusal("1-2-3:x"), "begins with no range"));
  CHECK(says(refusal("99999999999:x"), "begins with no range"));
  CHECK(says(refusal("0-3"), "begins with no range"));
  CHECK(says(refusal("3-0:x"), "layers 3-0 run backwards"));
  CHECK(says(refusal("0-3:"), "layers 0-3 have no value"));
  CHECK(says(refusal("0-3:,4:x"), "layers 0-3 have no value"));
  CHECK(says(refusal("0-3:x,3-5:y"), "layers 3-5 overlap or precede layers 0-3"));
  CHECK(says(refusal("4-5:x,0-3:y"), "layers 0-3 overlap or precede layers 4-5"));
  CHECK(says(refusal("1:x,1:y"), "layer 1 overlap or precede layer 1"));
}

TEST_CASE("values reach the layers that have one") {
  using values = std::vector<std::string>;
  CHECK(spread("0-5:x").value() == values{"x", "", "", "x", "x", ""});
  CHECK(spread("0:x,3:y,4-5:z").value() == values{"x", "", "", "y", "z", ""});
  CHECK(spread("0-1:x,2-4:y").value() == values{"x", "", "", "y", "y", ""});
}

TEST_CASE("values that do not fit the layers are refused by name") {
  const auto no = [](const std::string& text) {
    const auto result = spread(text);
    REQUIRE_FALSE(result);
    CHECK(result.failure().code() == errc::bad_rule);
    return std::string(result.failure().what());
  };
  CHECK(says(no("0-3:x"), "leaves out layer 4"));
  CHECK(says(no("0:x,4:y"), "leaves out layer 3"));
  CHECK(says(no("3-5:x"), "leaves out layer 0"));
  CHECK(says(no("0-6:x"), "layers 0-6 of a rule are outside a model of 6 layers"));
  CHECK(says(no("0-2147483647:x"), "outside a model of 6 layers"));
  CHECK(says(no("0:x,1-2:y,3-4:z"), "a rule is for layers 1-2, which store nothing"));
  CHECK(says(no("0-4:x,5:y"), "a rule is for layer 5, which store"));
  const auto all = [](layer_id) { return true; };
  CHECK(
      says(spread_layer_ranges({{{0}, {1}, "x"}, {{1}, {2}, "y"}}, 3, all).failure().what(), "layer 1 has two rules"));
  CHECK(says(spread_layer_ranges({{{-1}, {1}, "x"}}, 3, all).failure().what(), "outside a model"));
  CHECK(spread_layer_ranges({}, 0, all).value().empty());
}

TEST_CASE("gathered again, values make the fewest ranges") {
  CHECK(layer_ranges_text(gather_layer_ranges({"x", "", "", "x", "x", ""})) == "0-4:x");
  CHECK(layer_ranges_text(gather_layer_ranges({"", "x", "", "y", "x", "x"})) == "1:x,3:y,4-5:x");
  CHECK(gather_layer_ranges({"", ""}).empty());
}
