// SPDX-License-Identifier: Apache-2.0
// What the report is made of: numbers as text, scales, texts that part, rank correlation.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "report/continuation.hpp"
#include "report/markup.hpp"
#include "report/rank_correlation.hpp"
#include "report/scale.hpp"

namespace {

using namespace mini_llama::report;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

TEST_CASE("text and attributes cannot become markup") {
  CHECK(escaped("<b a='1'> & \"c\"") == "&lt;b a=&#39;1&#39;&gt; &amp; &quot;c&quot;");
  CHECK(escaped(std::string("a\0b\x1b\n\t", 6)) == "a\ufffdb\ufffd\n\t");
  CHECK(element("p", {{"class", "a\"b"}}, "x<br/>") == "<p class=\"a&quot;b\">x<br/></p>");
  CHECK(element("circle", {{"r", "1"}}) == "<circle r=\"1\"/>");
  CHECK(element("p") == "<p></p>");
}

TEST_CASE("numbers are written for people") {
  CHECK(fixed(1.005, 1) == "1.0");
  CHECK(fixed(-0.5, 2) == "\u22120.50");
  CHECK(fixed(-1e-9, 2) == "0.00");
  CHECK(fixed(nan, 2) == "\u2013");
  CHECK(fixed_or_short(27.389, 2) == "27.39");
  CHECK(fixed_or_short(2.256e8, 2) == "226\u00a0M");
  CHECK(fixed_or_short(nan, 2) == "\u2013");
  CHECK(count(0) == "0");
  CHECK(count(999) == "999");
  CHECK(count(1000) == "1\u202f000");
  CHECK(count(1234567) == "1\u202f234\u202f567");
  CHECK(count(-12345) == "\u221212\u202f345");
  CHECK(rounded(0) == "0");
  CHECK(rounded(0.012345) == "0.0123");
  CHECK(rounded(0.5) == "0.500");
  CHECK(rounded(1.2345) == "1.23");
  CHECK(rounded(12.345) == "12.3");
  CHECK(rounded(123.45) == "123");
  CHECK(rounded(12345.6) == "12\u202f346");
  CHECK(rounded(1e-7) == "1.0e-07");
  CHECK(rounded(std::numeric_limits<double>::infinity()) == "\u2013");
  CHECK(plain(0.5) == "0.5");
  CHECK(plain(70) == "70");
  CHECK(plain(100) == "100");
  CHECK(plain(9000) == "9\u202f000");
  CHECK(plain(20000) == "20\u00a0k");
  CHECK(plain(250000) == "250\u00a0k");
  CHECK(plain(1.8e8) == "180\u00a0M");
  CHECK(plain(-2e9) == "\u22122\u00a0G");
  CHECK(plain(3e15) == "3e+15");
  CHECK(bytes(1023) == "1\u202f023\u00a0B");
  CHECK(bytes(7.5 * 1024 * 1024) == "7.50\u00a0MiB");
  CHECK(percent(0.125) == "12.5\u00a0%");
  CHECK(coordinate(12.5) == "12.5");
  CHECK(coordinate(3) == "3");
  CHECK(coordinate(-0.001) == "0");
}

TEST_CASE("and exactly for programs") {
  CHECK(std::stod(exact(1.0 / 3)) == 1.0 / 3);
  CHECK(exact(nan) == "null");
  CHECK(data(2.5, "2 & 1/2") == "<data value=\"2.5\">2 &amp; 1/2</data>");
}

TEST_CASE("scales place the ends of their range, and round numbers in it") {
  const scale straight(2, 10, 100, 500);
  CHECK(straight(2) == doctest::Approx(100));
  CHECK(straight(6) == doctest::Approx(300));
  CHECK(straight.ticks(4) == std::vector<double>{2, 4, 6, 8, 10});
  const scale back(0, 1, 50, 0);
  CHECK(back(0.25) == doctest::Approx(37.5));
  CHECK(back.ticks(2) == std::vector<double>{0, 0.5, 1});
  const scale log(10, 1000, 0, 100, true);
  CHECK(log(100) == doctest::Approx(50));
  CHECK(log.ticks(3) == std::vector<double>{10, 100, 1000});
  CHECK(scale(3, 3, 0, 10)(3) == doctest::Approx(5));         // one value stands in the middle
  CHECK(scale(-1, 1, 0, 10, true)(0) == doctest::Approx(5));  // no logarithm of what is below zero
  for (const auto& [low, high] : {std::pair{18.5, 75.4}, {19.0, 19.8}, {0.7, 3000.0}, {1.0, 1e9}}) {
    const std::vector<double> ticks = scale(low, high, 0, 1, true).ticks(5);
    CHECK(ticks.size() >= 3);
    CHECK(ticks.size() <= 12);
    for (const double t : ticks) {
      CHECK(t >= low * 0.99);
      CHECK(t <= high * 1.01);
    }
  }
}

TEST_CASE("texts part at a word") {
  const auto check = [](std::string_view a, std::string_view b, std::string_view same, std::string_view difference,
                        std::string_view rest) {
    const parted_text p = part(a, b);
    CHECK(p.same == same);
    CHECK(p.difference == difference);
    CHECK(p.rest == rest);
  };
  check("the old city was", "the old cities are", "the old ", "city", " was");
  check("the old cities are", "the old city was", "the old ", "cities", " are");
  check("same", "same", "same", "", "");
  check("same", "same and more", "same", "", "");
  check("same and more", "same", "same", " and", " more");
  check("same and", "samethat and", "", "same", " and");
  check("", "x", "", "", "");
  check("a", "b", "", "a", "");
  check("na\u00efve x", "na\u00ebve x", "", "na\u00efve", " x");  // the two differ inside a character
  check("one\n two", "one\n  two", "one\n ", "two", "");
}

TEST_CASE("tokens in common are counted") {
  CHECK(common_tokens({1, 2, 3}, {1, 2, 4}) == 2);
  CHECK(common_tokens({1, 2}, {1, 2, 4}) == 2);
  CHECK(common_tokens({}, {1}) == 0);
}

TEST_CASE("rank correlation is Spearman's") {
  using numbers = std::vector<double>;
  CHECK(rank_correlation(numbers{1, 2, 3}, numbers{10, 100, 1000}) == doctest::Approx(1));
  CHECK(rank_correlation(numbers{1, 2, 3}, numbers{3, 2, 1}) == doctest::Approx(-1));
  // By hand: rank differences 2, 1, 1, 0, 0; 1 - 6 * 6 / (5 * 24).
  CHECK(rank_correlation(numbers{3, 1, 2, 4, 5}, numbers{10, 20, 30, 40, 50}) == doctest::Approx(0.7));
  // Ties share their mean rank: x ranks 1.5, 1.5, 3; y ranks 1, 2, 3.
  CHECK(rank_correlation(numbers{7, 7, 9}, numbers{1, 2, 3}) == doctest::Approx(std::sqrt(3.0) / 2));
  CHECK(rank_correlation(numbers{1, nan, 2}, numbers{1, 5, 2}) == doctest::Approx(1));
  CHECK(std::isnan(rank_correlation(numbers{1, 1}, numbers{1, 2})));
  CHECK(std::isnan(rank_correlation(numbers{}, numbers{})));
}

}  // namespace
