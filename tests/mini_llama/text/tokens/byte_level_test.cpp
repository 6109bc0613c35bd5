// SPDX-License-Identifier: Apache-2.0
#include "text/tokens/byte_level.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "golden/golden_tokenizers.hpp"
#include "mini_llama/scratch_directory.hpp"
#include "text/tokenizer.hpp"

using mini_llama::tokenizer;

namespace {

const tokenizer& style(const std::string& name) {
  static std::map<std::string, tokenizer> all;
  const auto found = all.find(name);
  return found != all.end() ? found->second : all.emplace(name, tokenizer(golden::byte_level_file(name))).first->second;
}

/// The pieces that come out when the ids arrive one by one, joined; `known` gets how many ids they stand for.
std::string streamed(const tokenizer& t, const std::vector<int>& ids, std::size_t& known) {
  std::string text;
  known = 0;
  for (std::size_t n = 0; n <= ids.size(); ++n) text += t.decode_next(std::span(ids).first(n), known);
  return text;
}

}  // namespace

TEST_CASE("texts become the reference's ids, and those its texts") {
  for (const std::string name : golden::byte_level_styles) {
    const golden::byte_level_style expected = golden::read_byte_level_style(name);
    REQUIRE(expected.texts.size() == 104);
    for (const golden::encoded& e : expected.texts) {
      CAPTURE(name);
      CAPTURE(e.text);
      CHECK(style(name).encode(e.text, false) == e.ids);
      std::vector<int> with_bos = e.before;
      with_bos.insert(with_bos.end(), e.ids.begin(), e.ids.end());
      CHECK(style(name).encode(e.text) == with_bos);
      CHECK(style(name).decode(e.ids) == e.decoded);
      CHECK(style(name).decode(with_bos) == e.decoded);
    }
  }
}

TEST_CASE("the styles differ where their models do") {
  CHECK(style("llama3").encode("a").size() == 2);
  CHECK(style("nemo").encode("a").size() == 2);
  CHECK(style("qwen2").encode("a").size() == 1);
  CHECK(style("gpt2").encode("a").size() == 1);
  CHECK(style("llama3").encode("lighthouse", false) == std::vector{506});  // a word without merges
  CHECK(style("llama3").vocab() == 511);
}

TEST_CASE("ids in any order decode as the reference does, and stream to the same text") {
  for (const std::string name : golden::byte_level_styles) {
    const golden::byte_level_style expected = golden::read_byte_level_style(name);
    REQUIRE(expected.decoded.size() == 40);
    for (const auto& [ids, text] : expected.decoded) {
      CAPTURE(name);
      CAPTURE(text);
      CHECK(style(name).decode(ids) == text);
      std::size_t known = 0;
      const std::string shown = streamed(style(name), ids, known);
      CHECK(text.starts_with(shown));
      CHECK(shown == style(name).decode(std::span(ids).first(known)));
      // What is held back ends in an unfinished character.
      CHECK((shown == text || text.ends_with("\xEF\xBF\xBD")));
    }
    for (const golden::encoded& e : expected.texts) {
      std::size_t known = 0;
      CHECK(streamed(style(name), e.ids, known) == e.decoded);
      CHECK(known == e.ids.size());
    }
  }
}

TEST_CASE("an unfinished character is held back until it is whole") {
  // The four bytes of U+1F680, which no merge of this vocabulary joins whole, between letters.
  const tokenizer& t = style("gpt2");
  const std::vector<int> ids = t.encode("a\xF0\x9F\x9A\x80z", false);
  REQUIRE(ids.size() >= 4);
  std::size_t known = 0;
  std::vector<std::string> pieces;
  for (std::size_t n = 1; n <= ids.size(); ++n) pieces.push_back(t.decode_next(std::span(ids).first(n), known));
  CHECK(pieces.front() == "a");
  CHECK(pieces.back() == "z");
  CHECK(std::count(pieces.begin(), pieces.end(), "") == static_cast<long>(ids.size()) - 3);
  CHECK(pieces[pieces.size() - 2] == "\xF0\x9F\x9A\x80");
}

TEST_CASE("text that is not UTF-8 is refused with the place") {
  const tokenizer& t = style("llama3");
  for (const std::string bad :
       {"ab\xff", "ab\xC0\x80", "ab\xED\xA0\x80", "ab\xE2\x82", "ab\xF5\x80\x80\x80", "ab\x80"}) {
    const std::string said = refusal([&] { t.encode(bad); });
    CHECK_MESSAGE(has(said, "its byte 2 is not UTF-8"), said);
  }
}

TEST_CASE("any text comes back") {
  std::mt19937 random(4);
  for (const std::string name : {"gpt2", "llama3", "nemo"}) {  // qwen2 composes, digits puts a blank in front
    for (int round = 0; round < 100; ++round) {
      std::string text;
      for (std::size_t n = random() % 30; n > 0; --n) {
        static const std::vector<std::string> parts = {
            "a", " ",  "\n", "\r\n", "7", "\xC3\xA9", "e\xCC\x81",       "\xE6\x9D\xB1",
            "'", "\t", "S",  "-",    "x", "\xC2\xA0", "\xF0\x9F\x99\x82"};
        text += parts[random() % parts.size()];
      }
      CAPTURE(text);
      CHECK(style(name).decode(style(name).encode(text)) == text);
    }
  }
}

TEST_CASE("long words and long runs take no more than their length allows") {
  const tokenizer& t = style("nemo");
  for (const std::string unit : {"A", " ", "\n", "\xE6\x9D\xB1", "ab", "=", "'"}) {
    std::string text;
    while (text.size() < 60000) text += unit;
    CHECK(t.decode(t.encode(text)) == text);
  }
}

TEST_CASE("ids outside the vocabulary are refused, but for the rows that a model has beyond it") {
  tokenizer t(golden::byte_level_file("qwen2"));
  const int end = t.vocab();
  const std::vector<int> ids = {t.encode("a", false)[0], end, t.encode("b", false)[0]};
  CHECK(has(refusal([&] { t.decode(ids); }), "token id " + std::to_string(end) + " is outside the tokenizer's 0 to"));
  t.fit_to(end + 1);
  CHECK(t.decode(ids) == "ab");
  std::size_t known = 0;
  CHECK(streamed(t, ids, known) == "ab");
  CHECK(known == 3);
  CHECK(has(refusal([&] { t.decode(std::vector{end + 1}); }), "outside the tokenizer's 0 to " + std::to_string(end)));
}
