// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "golden/golden_tokenizers.hpp"
#include "mini_llama/damage.hpp"
#include "mini_llama/scratch_directory.hpp"
#include "support/files.hpp"
#include "text/tokenizer.hpp"

using mini_llama::tokenizer;
using nlohmann::json;

namespace {

json file_of(const std::string& style) {
  return json::parse(mini_llama::read_text_file(golden::byte_level_file(style)));
}

/// What is said of this file; always begins with its name.
std::string said_of(const std::string& bytes) {
  const scratch_directory d;
  const auto file = d.write("tokenizer.json", bytes);
  const std::string said = refusal([&] { const tokenizer t(file); });
  CHECK_MESSAGE(said.starts_with(file.string() + ": "), said);
  CHECK_MESSAGE(has(said, "give token ids instead of text"), said);
  return said;
}

/// The same of a good file with the value at `where` replaced.
std::string said_with(const std::string& where, const json& value, const std::string& style = "llama3") {
  json j = file_of(style);
  j[json::json_pointer(where)] = value;
  return said_of(j.dump());
}

std::vector<int> ids_with(const std::string& where, const json& value, const std::string& text,
                          const std::string& style) {
  json j = file_of(style);
  j[json::json_pointer(where)] = value;
  const scratch_directory d;
  return tokenizer(d.write("tokenizer.json", j.dump())).encode(text);
}

}  // namespace

TEST_CASE("what is not supported is refused by name") {
  const auto names = [](const std::string& said, const std::string& what) {
    CHECK_MESSAGE(has(said, "asks for something unsupported: " + what), said);
  };
  names(said_with("/model/type", "Unigram"), "model.type is \"Unigram\"");
  names(said_with("/model/type", "WordPiece"), "model.type is \"WordPiece\"");
  names(said_with("/model/dropout", 0.1), "model.dropout is 0.1");
  names(said_with("/model/byte_fallback", true), "model.byte_fallback is true");
  names(said_with("/model/continuing_subword_prefix", "##"), "model.continuing_subword_prefix is \"##\"");
  names(said_with("/model/end_of_word_suffix", "</w>"), "model.end_of_word_suffix is \"</w>\"");
  names(said_with("/normalizer", {{"type", "NFKC"}}), "normalizer is {\"type\":\"NFKC\"}");
  names(said_with("/normalizer",
                  json::parse(R"({"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Lowercase"}]})")),
        "normalizer.normalizers[1] is {\"type\":\"Lowercase\"}");
  names(said_with("/pre_tokenizer", nullptr), "pre_tokenizer is null");
  names(said_with("/pre_tokenizer", {{"type", "Metaspace"}}), "pre_tokenizer is {");
  names(said_with("/pre_tokenizer/pretokenizers/0", {{"type", "Whitespace"}}),
        "pre_tokenizer.pretokenizers[0] is {\"type\":\"Whitespace\"}");
  names(said_with("/pre_tokenizer/pretokenizers/0/behavior", "MergedWithNext"),
        "pre_tokenizer.pretokenizers[0].behavior is \"MergedWithNext\"");
  names(said_with("/pre_tokenizer/pretokenizers/0/pattern/Regex", "\\w+"),
        "pre_tokenizer.pretokenizers[0].pattern uses '\\w'");
  names(said_with("/decoder", nullptr), "decoder is null");
  names(said_with("/decoder/type", "WordPiece"), "decoder is {");
  names(said_with("/post_processor", {{"type", "BertProcessing"}}), "post_processor is {\"type\":\"BertProcessing\"}");
  json behind = file_of("nemo").at("post_processor");
  behind["single"].push_back(behind["single"][0]);
  names(said_with("/post_processor", behind, "nemo"), "post_processor.single[2] is {\"SpecialToken\"");
  for (const std::string flag : {"lstrip", "rstrip", "single_word"})
    names(said_with("/added_tokens/0/" + flag, true), "added_tokens[0]." + flag + " is true");
}

TEST_CASE("a tokenizer.json that was made from a SentencePiece model is refused") {
  const std::string said = refusal([] { const tokenizer t(golden::model_directory() + "/tokenizer.json"); });
  CHECK_MESSAGE(has(said, "model.byte_fallback is true"), said);
  CHECK_MESSAGE(has(said, "take the checkpoint's tokenizer.model"), said);
}

TEST_CASE("broken files are refused with the place") {
  CHECK(has(said_of(""), "is not valid JSON"));
  CHECK(has(said_of("[]"), "the whole is [], not an object"));
  CHECK(has(said_of("{}"), "model is null, not an object"));
  CHECK(has(said_with("/model/vocab", 3), "model.vocab is 3, not an object"));
  CHECK(has(said_with("/model/vocab/!", "0"), "model.vocab[\"!\"] is \"0\", not a token id"));
  CHECK(has(said_with("/model/vocab/!", -1), "is -1, not a token id"));
  CHECK(has(said_with("/model/vocab/!", 18446744073709551615u), "not a token id"));
  CHECK(has(said_with("/model/vocab/!", 1), "the id of another token"));
  CHECK(has(said_with("/model/vocab/!", 1 << 29), "but one has the id 536870912"));
  CHECK(has(said_with("/model/merges", 3), "model.merges is 3, not a list"));
  CHECK(has(said_with("/model/merges/7", "ab"), "model.merges[7] is \"ab\", not two pieces"));
  CHECK(has(said_with("/model/merges/7", "a b c"), "model.merges[7] is \"a b c\", not two pieces"));
  CHECK(has(said_with("/model/merges/7", {"a"}), "model.merges[7] is [\"a\"], not a pair"));
  CHECK(has(said_with("/model/merges/7", {"q", "z"}),
            "model.merges[7] is [\"q\",\"z\"], but \"qz\" is not in the vocabulary"));
  CHECK(has(said_with("/model/ignore_merges", 1), "model.ignore_merges is 1, not true or false"));
  CHECK(has(said_with("/added_tokens/0/content", ""), "added_tokens[0].content is \"\", not a token's text"));
  CHECK(has(said_with("/added_tokens/0/content", "a"), "added_tokens[0].id is 509, but \"a\" has the id 64 already"));
  CHECK(has(said_with("/post_processor/processors/1/special_tokens", json::object()),
            "post_processor.processors[1].special_tokens.<|begin|>"));
  CHECK(has(said_with("/post_processor/processors/1/special_tokens/<|begin|>/ids/0", 600),
            "puts token 600 before a text"));
  CHECK(
      has(said_with("/pre_tokenizer/pretokenizers/0/pattern", json::object()), "pattern.Regex is null, not a string"));
  CHECK(has(said_with("/pre_tokenizer/pretokenizers/0/pattern/Regex", "(a"), "is not a regular expression"));
}

TEST_CASE("files may say the same in other ways") {
  const std::string text = "It's 12 lighthouse words, two words";
  for (const std::string style : {"qwen2", "nemo", "gpt2"}) {
    const std::vector<int> ids = tokenizer(golden::byte_level_file(style)).encode(text);
    // Merges as strings and as pairs, and the first line of the older text files.
    json merges = file_of(style).at("model").at("merges");
    for (json& m : merges) {
      if (m.is_string()) {
        const std::string both = m;
        const std::size_t blank = both.find(' ');
        m = {both.substr(0, blank), both.substr(blank + 1)};
      } else {
        m = m[0].get<std::string>() + " " + m[1].get<std::string>();
      }
    }
    CHECK(ids_with("/model/merges", merges, text, style) == ids);
    merges.insert(merges.begin(), "#version: 0.2");
    CHECK(ids_with("/model/merges", merges, text, style) == ids);
    CHECK(ids_with("/model/dropout", 0.0, text, style) == ids);
    CHECK(ids_with("/decoder", json::parse(R"({"type":"Sequence","decoders":[{"type":"ByteLevel"},{"type":"Fuse"}]})"),
                   text, style) == ids);
    json j = file_of(style);
    j["model"].erase("type");
    j["model"].erase("ignore_merges");
    const scratch_directory d;
    CHECK(tokenizer(d.write("tokenizer.json", j.dump())).encode(text) == ids);
  }
}

TEST_CASE("bytes without a token become the unknown one, one each or fused, or nothing where there is none") {
  json j = file_of("digits");
  json& model = j["model"];
  for (const char* letter : {"\xC4\x84", "\xC4\x86", "q"}) REQUIRE(model["vocab"].erase(letter) == 1);  // bytes 4 and 6
  json merges = json::array();
  for (const json& merge : model["merges"])
    if (!has(merge.dump(), "q")) merges.push_back(merge);
  model["merges"] = merges;
  // What tokenizers 0.23 makes of these. Left out, a byte does not keep its neighbours apart.
  using ids = std::vector<std::vector<int>>;
  const auto encoded = [&] {
    const scratch_directory d;
    const tokenizer t(d.write("tokenizer.json", j.dump()));
    ids all;
    for (const char* text : {"tqhe inn", "\x04", "q\x04\x06 q", "the inn", "\x04\x06!"}) all.push_back(t.encode(text));
    return all;
  };
  CHECK(encoded() == ids{{263, 291, 78}, {221}, {221, 221}, {263, 291, 78}, {221, 1}});
  model["unk_token"] = "!";
  CHECK(encoded() == ids{{257, 1, 258, 291, 78}, {221, 1}, {221, 1, 1, 1, 221, 1}, {263, 291, 78}, {221, 1, 1, 1}});
  model["fuse_unk"] = true;
  CHECK(encoded() == ids{{257, 1, 258, 291, 78}, {221, 1}, {221, 1, 1, 221, 1}, {263, 291, 78}, {221, 1, 1}});
  model["unk_token"] = "nowhere";
  const std::string said = said_of(j.dump());
  CHECK_MESSAGE(has(said, "model.unk_token is \"nowhere\", not a token of the vocabulary"), said);
}

TEST_CASE("a Split can remove what it matches, or keep nothing else") {
  json split = file_of("llama3").at("pre_tokenizer").at("pretokenizers").at(0);
  const tokenizer t(golden::byte_level_file("llama3"));
  split["pattern"] = {{"String", "-"}};
  split["behavior"] = "Removed";
  const std::vector<int> a = t.encode("a"), both = ids_with("/pre_tokenizer/pretokenizers/0", split, "a-a--", "llama3");
  CHECK(both == std::vector{a[0], a[1], a[1]});
  split["invert"] = true;
  const std::vector<int> dash = t.encode("-");
  CHECK(ids_with("/pre_tokenizer/pretokenizers/0", split, "a-a-", "llama3") == std::vector{dash[0], dash[1], dash[1]});
}

TEST_CASE("a folder's tokenizer is tokenizer.model, or else tokenizer.json") {
  const scratch_directory d;
  const std::string none = refusal([&] { mini_llama::tokenizer_file(d.path()); });
  CHECK(none.starts_with(d.path().string() + ": has neither tokenizer.model nor tokenizer.json"));
  CHECK(!mini_llama::has_tokenizer_file(d.path()));
  d.write("tokenizer.json", file_of("gpt2").dump());
  CHECK(mini_llama::tokenizer_file(d.path()) == d.path() / "tokenizer.json");
  CHECK(mini_llama::has_tokenizer_file(d.path()));
  CHECK(tokenizer(mini_llama::tokenizer_file(d.path())).vocab() == 507);
  d.write("tokenizer.model", "");
  CHECK(mini_llama::tokenizer_file(d.path()) == d.path() / "tokenizer.model");
}

TEST_CASE("damaged files are refused or work") {
  damage damaged(5);
  const std::string whole = file_of("nemo").dump();
  int refusals = 0;
  for (int round = 0; round < 150; ++round) {
    const scratch_directory d;
    const auto file = d.write("tokenizer.json", damaged(whole));
    try {
      const tokenizer t(file);
      CHECK(!t.decode(t.encode("The city of Lisbon \xF0\x9F\x99\x82")).empty());
    } catch (const mini_llama::load_error& e) {
      ++refusals;
      CHECK(has(e.what(), file.string()));
    }
  }
  CHECK(refusals > 75);
}
