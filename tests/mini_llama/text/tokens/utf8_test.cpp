// SPDX-License-Identifier: Apache-2.0
#include "text/tokens/utf8.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace mini_llama;

namespace {

constexpr const char* replaced = "\xEF\xBF\xBD";

std::string times(const std::string& text, int n) {
  std::string all;
  while (n-- > 0) all += text;
  return all;
}

}  // namespace

TEST_CASE("characters of every length are whole, and cut anywhere they are unfinished") {
  for (const std::string one : {"a", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                                "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    const utf8_front front = front_of(one + "z");
    CHECK(front.whole);
    CHECK(front.bytes == one.size());
    CHECK(utf8_length(one + one) == 2 * one.size());
    CHECK(replace_invalid(one + "b") == one + "b");
    CHECK(unfinished("x" + one) == 0);
    for (std::size_t n = 1; n < one.size(); ++n) {
      const std::string cut = "x" + one.substr(0, n);
      CHECK(unfinished(cut) == n);
      CHECK(utf8_length(cut) == 1);
      CHECK(replace_invalid(cut) == std::string("x") + replaced);
      CHECK(replace_invalid(cut + "y") == std::string("x") + replaced + "y");
    }
  }
}

TEST_CASE("what is no character is replaced as the Unicode standard's examples are") {
  // Section 3.9, tables 3-8 to 3-11.
  CHECK(replace_invalid("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41") == times(replaced, 8) + "A");
  CHECK(replace_invalid("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41") == times(replaced, 8) + "A");
  CHECK(replace_invalid("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42") == times(replaced, 5) + "A" + times(replaced, 2) + "B");
  CHECK(replace_invalid("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41") == times(replaced, 4) + "A");
  CHECK(unfinished("\xE0\x80") == 0);  // no character begins so
  CHECK(unfinished("\xED\xA0") == 0);
  CHECK(unfinished("") == 0);
}
