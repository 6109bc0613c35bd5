// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "support/files.hpp"
#include "support/load_error.hpp"
#include "support/strict_json.hpp"
#include "text/tokens/byte_level.hpp"
#include "text/tokens/byte_level_vocabulary.hpp"
#include "text/tokens/json_place.hpp"

namespace mini_llama {
namespace {

/// The expression that ByteLevel has built in, GPT-2's.
constexpr const char* gpt2_words = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

bool asks_for_nfc(const json_place& normalizer) {
  bool composed = false;
  for (const json_place& step : flattened(normalizer, "normalizers")) {
    if (step["type"].text() != "NFC") step.refuse();
    composed = true;
  }
  return composed;
}

pattern read_pattern(const json_place& p) {
  try {
    if (p["String"].absent()) return pattern::expression(p["Regex"].text());
    if (p["String"].text().empty()) p.refuse();
    return pattern::literal(p["String"].text());
  } catch (const invalid_pattern& e) {
    throw unsupported_json(p.where + " " + e.what());
  }
}

split_step read_split(const json_place& part) {
  using enum split_step::keep;
  const json_place behavior = part["behavior"];
  if (behavior.text() == "Isolated") return {read_pattern(part["pattern"]), all};
  if (behavior.text() != "Removed") behavior.refuse();
  return {read_pattern(part["pattern"]), part["invert"].flag(false) ? matches : others};
}

splitter read_splitter(const json_place& pre_tokenizer) {
  std::vector<json_place> parts = flattened(pre_tokenizer, "pretokenizers");
  if (parts.empty() || parts.back()["type"].text() != "ByteLevel") pre_tokenizer.refuse();
  const json_place bytes = parts.back();
  parts.pop_back();
  std::vector<split_step> steps;
  for (const json_place& part : parts) {
    if (part["type"].text() == "Split")
      steps.push_back(read_split(part));
    else if (part["type"].text() == "Digits")
      steps.push_back({pattern::expression(part["individual_digits"].flag(false) ? "\\p{N}" : "\\p{N}+")});
    else
      part.refuse();
  }
  // Both are on in a file that does not say.
  const bool prefix = bytes["add_prefix_space"].flag(true), splits = bytes["use_regex"].flag(true);
  if (prefix || splits)
    steps.push_back({pattern::expression(splits ? gpt2_words : "(?!)"), split_step::keep::all, prefix});
  return splitter(std::move(steps));
}

void check_decoder(const json_place& decoder) {
  std::vector<json_place> parts = flattened(decoder, "decoders");
  if (!parts.empty() && parts.back()["type"].text() == "Fuse") parts.pop_back();  // bytes are joined anyway
  if (parts.size() != 1 || parts[0]["type"].text() != "ByteLevel") decoder.refuse();
}

/// What a TemplateProcessing puts before a text. Behind a prompt, which is continued, nothing can stand.
std::vector<int> read_template(const json_place& part) {
  std::vector<int> before;
  bool text_seen = false;
  for (const json_place& item : part["single"].list()) {
    if (text_seen) item.refuse();
    if (!item["Sequence"].absent()) {
      if (item["Sequence"]["id"].text() != "A") item.refuse();
      text_seen = true;
      continue;
    }
    const std::string& name = item["SpecialToken"]["id"].text();
    for (const json_place& id : part["special_tokens"][name]["ids"].list()) before.push_back(id.id());
  }
  if (!text_seen) part["single"].refuse();
  return before;
}

std::vector<int> read_before(const json_place& post_processor) {
  std::vector<int> before;
  bool seen = false;
  for (const json_place& part : flattened(post_processor, "processors")) {
    if (part["type"].text() == "ByteLevel") continue;  // it says where in the text a token stands
    if (part["type"].text() != "TemplateProcessing" || seen) part.refuse();
    before = read_template(part);
    seen = true;
  }
  return before;
}

byte_level_parts read_parts(const json_place& root) {
  byte_level_parts parts;
  const json_place model = root["model"];
  // GPT-2's own file does not name its model.
  if (!model["type"].absent() && model["type"].text() != "BPE") model["type"].refuse();
  for (const char* other : {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"})
    model[other].must_be_off();
  parts.composed = asks_for_nfc(root["normalizer"]);
  parts.words = read_splitter(root["pre_tokenizer"]);
  check_decoder(root["decoder"]);
  parts.before = read_before(root["post_processor"]);

  byte_level_vocabulary vocabulary(parts);
  vocabulary.read(model["vocab"], model["ignore_merges"].flag(false));
  vocabulary.read_bytes(model);
  if (!root["added_tokens"].absent())
    for (const json_place& token : root["added_tokens"].list()) vocabulary.read_added(token);
  for (const json_place& merge : model["merges"].list()) vocabulary.read_merge(merge);
  vocabulary.finish();
  for (const int id : parts.before)
    if (static_cast<std::size_t>(id) >= parts.pieces.size())
      throw broken_json("post_processor puts token " + std::to_string(id) + " before a text, which does not exist");
  return parts;
}

}  // namespace

byte_level_parts read_byte_level(const std::filesystem::path& file) {
  const std::string text = read_text_file(file);
  const std::string instead = "give token ids instead of text";
  try {
    return read_parts({parse_strict_json(text), ""});
  } catch (const invalid_json& e) {
    throw load_error(file, std::string(e.what()) + ". Fetch it again from the checkpoint, or " + instead);
  } catch (const broken_json& e) {
    throw load_error(file, std::string(e.what()) + ". Fetch it again from the checkpoint, or " + instead);
  } catch (const unsupported_json& e) {
    throw load_error(file, "asks for something unsupported: " + std::string(e.what()) +
                               ". Byte-level BPE as of Llama 3, Qwen and Mistral-Nemo is; take the checkpoint's "
                               "tokenizer.model where there is one, or " +
                               instead);
  }
}

}  // namespace mini_llama
