// SPDX-License-Identifier: Apache-2.0
#include "text/tokens/pattern.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "mini_llama/scratch_directory.hpp"

using mini_llama::pattern;
using places = std::vector<pattern::match>;

namespace {

/// Why an expression is refused, or an empty text.
std::string refused(const std::string& expression) {
  try {
    pattern::expression(expression);
  } catch (const mini_llama::invalid_pattern& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("matches follow each other, empty ones where nothing else ended") {
  CHECK(pattern::expression("a+").matches("baac a") == places{{1, 3}, {5, 6}});
  CHECK(pattern::expression("x*").matches("axb") == places{{0, 0}, {1, 2}, {3, 3}});
  CHECK(pattern::expression("x*").matches("\xC3\xA9") == places{{0, 0}, {2, 2}});
  CHECK(pattern::expression("a").matches("").empty());
  CHECK(pattern::expression("(?!)").matches("ab").empty());
  CHECK(pattern::literal("a.").matches("aba.a") == places{{2, 4}});
}

TEST_CASE("a blank is what Unicode calls white space") {
  for (const std::string blank :
       {" ", "\t", "\n", "\v", "\f", "\r", "\xC2\x85", "\xC2\xA0", "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x8A",
        "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"}) {
    for (const std::string expression : {"\\s", "[\\s]", "[^\\p{L}]"})
      CHECK(pattern::expression(expression).matches(blank) == places{{0, blank.size()}});
    for (const std::string expression : {"\\S", "[^\\s]"})
      CHECK(pattern::expression(expression).matches(blank).empty());
  }
  // The Mongolian vowel separator was white space before Unicode 6.3; the zero-width space never was.
  for (const std::string other : {"\xE1\xA0\x8E", "\xE2\x80\x8B", "\xEF\xBB\xBF", "a", "\x1C"}) {
    CHECK(pattern::expression("\\s").matches(other).empty());
    CHECK(pattern::expression("\\S").matches(other) == places{{0, other.size()}});
  }
}

TEST_CASE("constructs that other engines read otherwise are refused by name") {
  for (const std::string construct : {"\\w", "\\b", "\\h", "\\v", "\\K", "\\1", "\\A", "\\G", "\\Q", "\\C"})
    CHECK_MESSAGE(has(refused("a" + construct), "uses '" + construct + "'"), refused("a" + construct));
  CHECK(has(refused("[a[b]]"), "uses '['"));
  CHECK(has(refused("[[:alpha:]]"), "uses '['"));
  CHECK(has(refused("[a&&b]"), "uses '&&'"));
  CHECK(has(refused("[\\S]"), "uses '\\S'"));
  CHECK(has(refused("[]a]"), "uses '[]'"));
  CHECK(has(refused("(?m:.)"), "uses '(?m'"));
  CHECK(has(refused("(?<name>a)"), "uses '(?<'"));
  CHECK(has(refused("(*UTF)a"), "uses '(*'"));
  CHECK(has(refused("a{1,3}+"), "uses '}+'"));
  CHECK(has(refused("a{,3}"), "uses '{,'"));
  CHECK(has(refused("a\\"), "uses '\\'"));
  CHECK(has(refused("(a"), "is not a regular expression"));
  CHECK(has(refused("\\p{Nonsense}"), "is not a regular expression"));
  for (const std::string fine :
       {"\\p{N}+", "\\P{L}{1,3}", "[^\\r\\n\\p{L}]?a", "(?i:'s)|(?:a)(?=b)(?!c)(?>d)(?<=e)(?<!f)", "\\u00e9", "\\x{e9}",
        "\\.\\/\\-", "a++b?+c*+", "[\xE4\xB8\x80-\xE9\xBE\xA5]"})
    CHECK_MESSAGE(refused(fine).empty(), refused(fine));
  CHECK(pattern::expression("\\u00e9").matches("\xC3\xA9") == places{{0, 2}});
}

TEST_CASE("an expression that tries all ways through a text is stopped") {
  const std::string text(60, 'a');
  CHECK(has(refusal([&] { pattern::expression("(?:a+)+[bc]").matches(text); }), "cannot be split into words"));
}
