// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/method_spec.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>

#include "kvsharer/core/known_methods.hpp"

using namespace kvsharer;

TEST_CASE("a name and options, in their order") {
  const method_spec plain = method_spec::parse("native").value();
  CHECK(plain.name() == "native");
  CHECK(plain.options().empty());
  CHECK(plain.option("bits") == nullptr);

  const method_spec spec = method_spec::parse("kivi:group=32,bits=2,tail=1e-3").value();
  CHECK(spec.name() == "kivi");
  REQUIRE(spec.options().size() == 3);
  CHECK(spec.options()[0] == method_option{"group", "32"});
  CHECK(spec.options()[1] == method_option{"bits", "2"});
  REQUIRE(spec.option("tail") != nullptr);
  CHECK(*spec.option("tail") == "1e-3");
  CHECK(spec.option("tai") == nullptr);
  CHECK_FALSE(spec == method_spec::parse("kivi:bits=2,group=32,tail=1e-3").value());
  CHECK(method_spec().text() == "none");
}

TEST_CASE("what is written is read") {
  for (const std::string text : {"none", "native", "a:b=c", "kivi:bits=2,group=32", "keep:share=12.5%,x_y=-1"})
    CHECK(method_spec::parse(text).value().text() == text);
}

TEST_CASE("other texts are refused, and the refusal says why") {
  for (const std::string text : {"", ":", ":a=b", "a:", "a:b", "a:=c", "a:b=", "a:b=c,", "a:,b=c", "a:b=c:d=e", "a b",
                                 "a:b=c d", "a:b==c", "a:b=c=d", "\xc3\xa9", "a\n", "a:b=\""}) {
    CAPTURE(text);
    const result<method_spec> spec = method_spec::parse(text);
    REQUIRE_FALSE(spec);
    CHECK(spec.failure().code() == errc::bad_rule);
    CHECK(std::string(spec.failure().what()).find("NAME[:key=value,...]") != std::string::npos);
  }
  CHECK(method_spec::parse("a:b=1,c=2,b=3").failure().what() ==
        std::string("kvsharer E305: \"a:b=1,c=2,b=3\" does not name a method: \"b\" comes twice; write "
                    "NAME[:key=value,...]"));
}

TEST_CASE("a method that does not exist is refused, and the refusal says what exists") {
  static constexpr std::array table{known_method{"native"}, known_method{"kivi", "bits group"}};
  const auto refusal = [&](const std::string& text) {
    const auto no = refuse_unknown(method_spec::parse(text).value(), table, "codec");
    return no ? std::string(no->what()) : std::string();
  };
  CHECK(refusal("native").empty());
  CHECK(refusal("kivi:group=32,bits=2").empty());
  CHECK(refusal("h2o") == "kvsharer E306: there is no codec \"h2o\"; this version has: native, kivi");
  CHECK(refusal("native:bits=2") == "kvsharer E306: the codec native has no option \"bits\"; it takes none");
  CHECK(refusal("kivi:bit=2") == "kvsharer E306: the codec kivi has no option \"bit\"; it takes these: bits group");
  CHECK(refusal("nativ") != "");
  CHECK(refusal("native2") != "");
}
