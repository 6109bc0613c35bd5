// SPDX-License-Identifier: Apache-2.0
#include "support/strict_json.hpp"

#include <doctest/doctest.h>

#include <string>

using mini_llama::parse_strict_json;

namespace {

std::string complaint(const std::string& text) {
  try {
    parse_strict_json(text);
  } catch (const mini_llama::invalid_json& e) {
    return e.what();
  }
  return "(accepted)";
}

}  // namespace

TEST_CASE("ordinary JSON is parsed") {
  const nlohmann::json value = parse_strict_json(R"( {"a": [1, {"a": 2}, {"a": 3}], "b": null} )");
  CHECK(value["a"][2]["a"] == 3);
  CHECK(value["b"].is_null());
}

TEST_CASE("a key may occur once in each object") {
  CHECK(complaint(R"({"a": 1, "b": 2, "a": 1})") == "names 'a' twice");
  CHECK(complaint(R"([{"x": {"b": 1, "c": {"b": 1}, "b": 1}}])") == "names 'b' twice");
  CHECK(complaint(R"({"a": 1, "\u0061": 1})") == "names 'a' twice");
  CHECK(complaint(R"({"b": 1, "a": {"c": 1}, "b": 1})") == "names 'b' twice");
  CHECK(complaint(R"({"a": {"a": 1, "b": 1}, "b": 1})") == "(accepted)");
}

TEST_CASE("nesting ends at 100 levels") {
  const auto nested = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  CHECK(complaint(nested(100)) == "(accepted)");
  CHECK(complaint(nested(101)) == "nests more than 100 levels deep");
  CHECK(complaint(std::string(1'000'000, '[')) == "nests more than 100 levels deep");
}

TEST_CASE("what is no JSON is said in one line of bounded length") {
  for (const std::string text : {"", "{", "[1,]", "{\"a\" 1}", "nan", "1e999", "[1] 2", "\"\xff\"", "\"open"})
    CHECK_MESSAGE(complaint(text).starts_with("is not valid JSON ("), text);
  CHECK(complaint("\"" + std::string(100'000, 'x') + "\n\"").size() < 300);
}
