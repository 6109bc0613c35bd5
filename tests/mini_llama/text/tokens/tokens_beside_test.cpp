// SPDX-License-Identifier: Apache-2.0
// A SentencePiece model with the files that checkpoints have beside it. The ids and texts are those of
// transformers 5.24 for the same folder, with the shipped model's pieces.
#include <doctest/doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "golden/golden.hpp"
#include "mini_llama/scratch_directory.hpp"
#include "text/tokenizer.hpp"

using mini_llama::tokenizer;
using nlohmann::json;

namespace {

/// The shipped tokenizer.model and these files.
struct beside : scratch_directory {
  explicit beside(const json& files) {
    std::filesystem::create_symlink(golden::model_directory() + "/tokenizer.model", file());
    for (const auto& [name, content] : files.items()) write(name, content.dump());
  }
  std::filesystem::path file() const { return path() / "tokenizer.model"; }
};

json named() {
  return {{"bos_token", "<s>"},
          {"eos_token", {{"content", "</s>"}, {"lstrip", false}}},
          {"unk_token", "<unk>"},
          {"pad_token", nullptr}};
}

json decoder() {
  return {{"8192", {{"content", "<|im_start|>"}, {"normalized", false}, {"special", true}}},
          {"8193", {{"content", "<tool>"}, {"lstrip", false}, {"special", false}}}};
}

json with_decoder(const json& more = json::object()) {
  json config = named();
  config["added_tokens_decoder"] = decoder();
  config.update(more);
  return {{"tokenizer_config.json", config}};
}

const std::string prompt = "<|im_start|>user\nThe city<|im_end|>\nof <tool> Lisbon</s>";
const std::vector<int> prompt_ids = {1,   8192, 349,  264, 13,   825,  1457, 8089, 7981, 332, 7958,
                                     732, 7981, 8027, 13,  1725, 7862, 8193, 6057, 3854, 2};

std::string streamed(const tokenizer& t, const std::vector<int>& ids) {
  std::string text;
  std::size_t known = 0;
  for (std::size_t n = 1; n <= ids.size(); ++n) text += t.decode_next(std::span(ids).first(n), known);
  return text;
}

std::string refused(const json& files) {
  const beside d(files);
  return refusal([&] { const tokenizer t(d.file()); });
}

}  // namespace

TEST_CASE("added and special tokens are one id each where they are spelled out") {
  const beside d(with_decoder());
  const tokenizer t(d.file());
  CHECK(t.encode(prompt) == prompt_ids);
  CHECK(t.encode("of Lisbon") == std::vector{1, 280, 6057, 3854});
  CHECK(t.encode("The<tool>") == std::vector{1, 333, 8193});
  CHECK(t.encode("<s>The") == std::vector{1, 1, 825});
  CHECK(t.encode("<tool>", false) == std::vector{8193});
  CHECK(t.vocab() == 8194);
  CHECK(t.pieces() == 8192);

  const std::string text = "user\nThe city<|im_end|>\nof <tool> Lisbon";
  CHECK(t.decode(prompt_ids) == text);
  CHECK(streamed(t, prompt_ids) == text);
}

TEST_CASE("older files put a blank before every piece of a text") {
  const beside d(with_decoder({{"legacy", true}}));
  std::vector<int> ids = prompt_ids;
  ids.erase(ids.begin() + 2);
  ids[2] = 6696;  // " user"
  CHECK(tokenizer(d.file()).encode(prompt) == ids);
  CHECK(tokenizer(d.file()).decode(ids) == "user\nThe city<|im_end|>\nof <tool> Lisbon");
}

TEST_CASE("added_tokens.json counts where tokenizer_config.json lists none") {
  const json added{{"<|im_start|>", 8192}, {"<tool>", 8193}};
  json files{{"tokenizer_config.json", named()}, {"added_tokens.json", added}};
  const beside plain(files);
  CHECK(tokenizer(plain.file()).encode(prompt) == prompt_ids);
  CHECK(tokenizer(plain.file()).decode(prompt_ids) == "<|im_start|>user\nThe city<|im_end|>\nof <tool> Lisbon");
  files["special_tokens_map.json"] = {{"additional_special_tokens", {"<|im_start|>"}}};
  const beside special(files);
  CHECK(tokenizer(special.file()).decode(prompt_ids) == "user\nThe city<|im_end|>\nof <tool> Lisbon");

  files = with_decoder();
  files["added_tokens.json"] = {{"<tool>", 9000}};
  const beside both(files);
  CHECK(tokenizer(both.file()).encode(prompt) == prompt_ids);
}

TEST_CASE("an added token that the model has no embedding for is refused only where a text spells it out") {
  const beside d(with_decoder());
  tokenizer t(d.file());
  t.fit_to(8193);
  CHECK(t.encode("<|im_start|>", false) == std::vector{8192});
  const std::string said = refusal([&] { t.encode("a <tool>"); });
  CHECK_MESSAGE(has(said, "the token of id 8193"), said);
  CHECK(has(said, "only 8193 embeddings; leave it out"));
}

TEST_CASE("a piece takes the name that it is given") {
  const json renamed{{"300", {{"content", "<|im_end|>"}, {"special", true}}}};
  const beside d(json{{"tokenizer_config.json", {{"added_tokens_decoder", renamed}}}});
  const tokenizer t(d.file());
  CHECK(t.encode("of<|im_end|>", false) == std::vector{280, 300});
  CHECK(t.decode(std::vector{280, 300}) == "of");
  CHECK(t.vocab() == 8192);
}

TEST_CASE("BOS and EOS stand where tokenizer_config.json says") {
  const auto ids = [](const json& more) {
    const beside d(with_decoder(more));
    const tokenizer t(d.file());
    CHECK(t.encode("of Lisbon", false).size() == 3);
    CHECK(t.opens_texts() == more.value("add_bos_token", true));
    return t.encode("of Lisbon");
  };
  CHECK(ids({{"add_bos_token", false}}) == std::vector{280, 6057, 3854});
  CHECK(ids({{"add_bos_token", true}, {"add_eos_token", true}}) == std::vector{1, 280, 6057, 3854, 2});
  CHECK(ids({{"add_bos_token", false}, {"add_eos_token", true}}) == std::vector{280, 6057, 3854, 2});
  CHECK(ids({{"add_eos_token", true}, {"eos_token", "<|im_start|>"}}) == std::vector{1, 280, 6057, 3854, 8192});
  CHECK(ids({{"add_prefix_space", false}}).at(1) == 1725);
}

TEST_CASE("a bare tokenizer.model has no tokens that are spelled out") {
  const beside d(json::object());
  const tokenizer t(d.file());
  for (const golden::tokenized& g : golden::read_tokenized())
    if (has(g.text, "<s>")) CHECK(t.encode(g.text, false) == g.ids);
  CHECK(t.opens_texts());
}

TEST_CASE("files beside the model that are broken, or ask for what is not supported, are refused by name") {
  const auto check_refused = [](const json& files, const char* what) {
    const std::string said = refused(files);
    CHECK_MESSAGE(has(said, what), said);
    CHECK_MESSAGE(has(said, "ive token ids instead of text"), said);
  };
  const auto decoder_of = [](const json& entries) {
    return json{{"tokenizer_config.json", {{"added_tokens_decoder", entries}}}};
  };
  check_refused({{"added_tokens.json", {{"<a>", "8192"}}}}, "added_tokens.json: <a> is \"8192\", not a token id");
  check_refused({{"added_tokens.json", {{"<a>", 8192}, {"<b>", 8192}}}}, "id 8192 is that of another token");
  check_refused(decoder_of({{"x", {{"content", "<a>"}}}}), "added_tokens_decoder.x is named by no token id");
  check_refused(decoder_of({{"7", "<a>"}}), "tokenizer_config.json: added_tokens_decoder.7 is \"<a>\", not an object");
  check_refused(decoder_of({{"7", {{"content", ""}}}}), "not a token's text");
  check_refused(decoder_of({{"7", {{"content", "a"}}}, {"8", {{"content", "a"}}}}), "gives 'a' a second id");
  for (const std::string flag : {"lstrip", "rstrip", "single_word"})
    check_refused(decoder_of({{"7", {{"content", "<a>"}, {flag, true}}}}),
                  ("asks for something unsupported: added_tokens_decoder.7." + flag + " is true").c_str());
  check_refused({{"tokenizer_config.json", {{"add_bos_token", "no"}}}}, "add_bos_token is \"no\", not true or false");
  CHECK(has(refused({{"tokenizer_config.json", {1}}}), "tokenizer_config.json: holds a JSON array, not an object"));
}
