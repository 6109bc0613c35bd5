// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/method_options.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include "kvsharer/core/press_names.hpp"
#include "kvsharer/core/types.hpp"

using namespace kvsharer;

namespace {

method_spec spec(const std::string& text) { return method_spec::parse(text).value(); }

}  // namespace

TEST_CASE("options are read into variables, and those that are not given stay") {
  const method_spec m = spec("x:count=12,part=20%,whole=0.5,far=-3,yes=yes,no=no,word=b,seed=18446744073709551615");
  index_t count = 0, absent = 7, far = 0;
  double part = 0, whole = 0;
  float single = 0;
  bool yes = false, no = true;
  char word = 'a';
  std::uint64_t seed = 0;
  method_options o(m);
  o.number("count", count).number("absent", absent).number("part", part).number("whole", whole).number("far", far);
  o.number("part", single).flag("yes", yes).flag("no", no).word("word", word, {{"a", 'A'}, {"b", 'B'}});
  o.number("seed", seed);
  CHECK_FALSE(o.failure());
  CHECK(count == 12);
  CHECK(absent == 7);
  CHECK(far == -3);
  CHECK(part == doctest::Approx(.2));
  CHECK(single == doctest::Approx(.2));
  CHECK(whole == .5);
  CHECK(yes);
  CHECK_FALSE(no);
  CHECK(word == 'B');
  CHECK(seed == 18446744073709551615u);
}

TEST_CASE("the first value that cannot be read is named, and nothing is changed") {
  const auto says = [](const std::string& text) {
    const method_spec m = spec(text);
    index_t count = 5;
    double part = .5;
    bool flag = true;
    char word = 'a';
    method_options o(m);
    o.number("count", count)
        .number("part", part)
        .flag("flag", flag)
        .word("word", word, {{"a", 'a'}, {"b", 'b'}, {"c", 'c'}});
    CHECK(count == 5);
    CHECK(part == .5);
    CHECK(flag);
    CHECK(word == 'a');
    REQUIRE(o.failure());
    CHECK(o.failure()->code() == errc::bad_rule);
    return std::string(o.failure()->what());
  };
  CHECK(says("m:count=x") == "kvsharer E305: \"m:count=x\" has count=x; its value is to be a number");
  CHECK(says("m:word=d") == "kvsharer E305: \"m:word=d\" has word=d; its value is to be a, b or c");
  CHECK(says("m:flag=1") == "kvsharer E305: \"m:flag=1\" has flag=1; its value is to be yes or no");
  for (const char* wrong : {"m:count=1.5", "m:count=3%", "m:count=99999999999999999999", "m:part=1x", "m:part=%",
                            "m:part=1%%", "m:part=+", "m:word=A", "m:count=x,flag=no"})
    says(wrong);
}

TEST_CASE("names that users know stand for a selector and a budget; another one lists them") {
  CHECK(press_named("pyramidkv").value() == press_methods{spec("snapkv"), spec("pyramidkv")});
  CHECK(press_named("adakv").value() == press_named("adakv_snapkv").value());
  CHECK(press_named("random").value() == press_methods{spec("random"), spec("uniform")});
  const auto unknown = press_named("tova");
  CHECK(unknown.failure().code() == errc::unknown_method);
  const std::string text = unknown.failure().what();
  for (const press_name& p : press_names) CHECK(text.find(p.name) != std::string::npos);
}
