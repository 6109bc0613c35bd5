// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "golden/golden.hpp"
#include "mini_llama/damage.hpp"
#include "mini_llama/scratch_directory.hpp"
#include "support/files.hpp"

using mini_llama::tokenizer;

namespace {

std::filesystem::path model_file() { return std::filesystem::path(golden::model_directory()) / "tokenizer.model"; }

/// The shipped file alone, as SentencePiece reads it: what is named beside it adds to that.
const tokenizer& shipped() {
  static const tokenizer t = [] {
    const scratch_directory alone;
    return tokenizer(alone.write("tokenizer.model", mini_llama::read_text_file(model_file())));
  }();
  return t;
}

/// The pieces that come out when the ids arrive one by one, joined; `known` gets how many ids they stand for.
std::string streamed(const tokenizer& t, const std::vector<int>& ids, std::size_t& known) {
  std::string text;
  known = 0;
  for (std::size_t n = 0; n <= ids.size(); ++n) text += t.decode_next(std::span(ids).first(n), known);
  return text;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto lead = static_cast<unsigned char>(text[0]);
    const std::size_t length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 9;
    if (length > text.size()) return false;
    for (std::size_t i = 1; i < length; ++i)
      if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return false;
    text.remove_prefix(length);
  }
  return true;
}

/// Says what is at fault in these bytes taken for a model; always begins with the file.
std::string refused(std::string_view bytes) {
  const scratch_directory d;
  const std::filesystem::path file = d.write("tokenizer.model", bytes);
  const std::string said = refusal([&] { const tokenizer t(file); });
  CHECK_MESSAGE(said.starts_with(file.string() + ": is not a SentencePiece model"), said);
  CHECK(has(said, "fetch it again"));
  return said;
}

}  // namespace

TEST_CASE("texts become the golden ids, and those the golden texts") {
  const std::vector<golden::tokenized> all = golden::read_tokenized();
  REQUIRE(all.size() == 48);
  for (const golden::tokenized& g : all) {
    CAPTURE(g.text);
    CHECK(shipped().encode(g.text, false) == g.ids);
    CHECK(shipped().decode(g.ids) == g.decoded);
    std::vector<int> with_bos = g.ids;
    with_bos.insert(with_bos.begin(), 1);
    CHECK(shipped().encode(g.text) == with_bos);
    CHECK(shipped().decode(with_bos) == g.decoded);
  }
  for (const golden::prompt& p : golden::read_mini_llama().prompts) CHECK(shipped().encode(p.text) == p.token_ids);
  CHECK(shipped().vocab() == static_cast<int>(golden::vocab));
}

TEST_CASE("tokens that arrive one by one give the same text, in whole characters") {
  for (golden::tokenized g : golden::read_tokenized()) {
    CAPTURE(g.text);
    g.ids.insert(g.ids.begin(), 1);
    std::size_t known = 0;
    CHECK(streamed(shipped(), g.ids, known) == g.decoded);
    CHECK(known == g.ids.size());
  }
}

TEST_CASE("an unfinished character is held back until it is whole") {
  // A blank, then the four bytes of U+1F642.
  const std::vector<int> ids = {7862, 243, 162, 156, 133};
  std::size_t known = 0;
  std::vector<std::string> pieces;
  std::vector<std::size_t> knowns;
  for (std::size_t n = 1; n <= ids.size(); ++n) {
    pieces.push_back(shipped().decode_next(std::span(ids).first(n), known));
    knowns.push_back(known);
  }
  CHECK(pieces == std::vector<std::string>{"", "", "", "", "\xF0\x9F\x99\x82"});
  CHECK(knowns == std::vector<std::size_t>{1, 1, 1, 1, 5});
}

TEST_CASE("tokens in any order, broken characters and control tokens among them, stream as they decode") {
  std::mt19937 random(3);
  // Bytes, where broken characters come from, are as likely as all other pieces. Byte b is token 3 + b; lead bytes and
  // their continuations are drawn more often still.
  constexpr std::array bytes = {0xF0, 0x9F, 0x99, 0x82, 0xE6, 0x9D, 0xC3, 0xA9, 0xFF, 0xC0, 0x41};
  for (int round = 0; round < 300; ++round) {
    std::vector<int> ids(1 + random() % 24);
    for (int& id : ids) switch (random() % 4) {
        case 0:
          id = 3 + bytes[random() % bytes.size()];
          break;
        case 1:
          id = static_cast<int>(random() % 259);
          break;
        default:
          id = static_cast<int>(random() % golden::vocab);
      }
    std::size_t known = 0;
    const std::string text = streamed(shipped(), ids, known);
    CHECK(is_utf8(text));
    CHECK(text == shipped().decode(std::span(ids).first(known)));
    CHECK(known + 3 >= ids.size());
  }
}

TEST_CASE("any bytes that are UTF-8 can be encoded, and others are refused with the place") {
  std::mt19937 random(9);
  int encoded = 0;
  for (int round = 0; round < 300; ++round) {
    std::string bytes(1 + random() % 4, ' ');
    for (char& b : bytes) b = static_cast<char>(random() & 0xff);
    if (is_utf8(bytes)) {
      const std::vector<int> ids = shipped().encode(bytes);
      CHECK(std::all_of(ids.begin(), ids.end(), [](int id) { return id >= 0 && id < shipped().vocab(); }));
      ++encoded;
    } else {
      CHECK(has(refusal([&] { shipped().encode(bytes); }), "is not UTF-8"));
    }
    std::string ascii(1 + random() % 40, ' ');
    for (char& b : ascii) b = static_cast<char>(' ' + random() % 95);
    CHECK(shipped().decode(shipped().encode(ascii)) == ascii);
  }
  CHECK(encoded > 30);
  CHECK(has(refusal([] { shipped().encode("caf\xE9 au lait"); }),
            "the text cannot be tokenized: its byte 3 is not UTF-8"));
  CHECK(has(refusal([] { shipped().encode("caf\xE9", true, "a.txt: line 2"); }), "a.txt: line 2 cannot be tokenized"));
}

TEST_CASE("ids outside the vocabulary are refused") {
  for (const int id : {-1, 8192, 1 << 30}) {
    const std::vector<int> ids = {1, id};
    const std::string said = refusal([&] { shipped().decode(ids); });
    CHECK_MESSAGE(has(said, "token id " + std::to_string(id) + " is outside the tokenizer's 0 to 8191"), said);
    std::size_t known = 0;
    CHECK(has(refusal([&] { shipped().decode_next(ids, known); }), "is outside the tokenizer's"));
  }
}

TEST_CASE("a tokenizer can be moved") {
  tokenizer first(model_file());
  tokenizer second = std::move(first);
  CHECK(second.encode("a", false) == std::vector{261});
  first = std::move(second);
  CHECK(first.encode("a", false) == std::vector{261});
}

TEST_CASE("files that are missing, cut short or of another kind") {
  const scratch_directory d;
  CHECK(has(refusal([&] { const tokenizer t(d.path() / "absent.model"); }), "absent.model: cannot be opened"));
  CHECK(has(refusal([&] { const tokenizer t(d.path()); }), "is a folder, not a file"));
  CHECK(has(refused(""), "is not a SentencePiece model"));
  CHECK(has(refused("{\"version\": \"1.0\", \"model\": {\"type\": \"BPE\"}}"), "tokenizer of another kind"));
  CHECK(has(refused(std::string(5000, '\0')), "damaged"));
  const std::string whole = mini_llama::read_text_file(model_file());
  for (const std::size_t bytes : {1u, 100u, 1001u}) CHECK(has(refused(whole.substr(0, bytes)), "cut short"));
}

TEST_CASE("a model file cut anywhere is refused or works") {
  const std::string whole = mini_llama::read_text_file(model_file());
  const scratch_directory d;
  int refusals = 0;
  for (std::size_t round = 0; round < 40; ++round) {
    const std::filesystem::path file = d.write("tokenizer.model", whole.substr(0, whole.size() * round / 40));
    try {
      const tokenizer t(file);
      const std::vector<int> ids = t.encode("The city of Lisbon");
      CHECK(!t.decode(ids).empty());
    } catch (const mini_llama::load_error& e) {
      ++refusals;
      CHECK(has(e.what(), file.string()));
    }
  }
  CHECK(refusals > 20);
}

TEST_CASE("damaged model files are refused or work") {
  const std::string whole = mini_llama::read_text_file(model_file());
  const scratch_directory d;
  damage damaged(17);
  int refusals = 0;
  for (int round = 0; round < 60; ++round) {
    const std::filesystem::path file = d.write("tokenizer.model", damaged(whole));
    try {
      const tokenizer t(file);
      const std::vector<int> ids = t.encode("The city of Lisbon \xF0\x9F\x99\x82");
      CHECK(t.decode(ids).size() > 1);
    } catch (const mini_llama::load_error& e) {
      ++refusals;
      CHECK(has(e.what(), file.string()));
    }
  }
  CHECK(refusals > 20);
}
