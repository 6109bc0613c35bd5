// SPDX-License-Identifier: Apache-2.0
#include "text/text_stream.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "golden/golden_tokenizers.hpp"

using mini_llama::text_stream;
using mini_llama::tokenizer;

namespace {

std::string streamed(const tokenizer& t, const std::vector<int>& prompt, const std::vector<int>& tokens) {
  text_stream s(t, prompt);
  std::string text;
  for (const int token : tokens) text += s.next(token);
  text += s.rest();
  CHECK(s.rest().empty());
  return text;
}

}  // namespace

TEST_CASE("what is shown joins to the reference's text, broken ends included") {
  for (const std::string style : golden::byte_level_styles) {
    const tokenizer t(golden::byte_level_file(style));
    for (const auto& [ids, text] : golden::read_byte_level_style(style).decoded) {
      CAPTURE(text);
      CHECK(streamed(t, {}, ids) == text);
      // The prompt's text comes with the first token.
      const std::vector<int> prompt(ids.begin(), ids.end() - 1);
      CHECK(streamed(t, prompt, {ids.back()}) == text);
    }
  }
}

TEST_CASE("a SentencePiece model's tokens join to its text as well") {
  const tokenizer t(golden::model_directory() + "/tokenizer.model");
  for (const golden::tokenized& g : golden::read_tokenized())
    if (!g.ids.empty()) CHECK(streamed(t, {1}, g.ids) == g.decoded);
  // Bytes are tokens 3 to 258; an unfinished character is shown in the end.
  CHECK(streamed(t, {1}, {t.encode("a", false)[0], 3 + 0xF0, 3 + 0x9F}).starts_with("a\xEF\xBF\xBD"));
}
