// SPDX-License-Identifier: Apache-2.0
#include "text/tokens/tokens_beside.hpp"

#include <charconv>
#include <functional>
#include <nlohmann/json.hpp>

#include "support/file_itself.hpp"
#include "support/json_file.hpp"
#include "text/tokens/json_place.hpp"

namespace mini_llama {
namespace {

constexpr const char* token_lists[] = {"additional_special_tokens", "extra_special_tokens"};
constexpr const char* token_names[] = {"bos_token", "eos_token",  "unk_token", "pad_token",
                                       "sep_token", "mask_token", "cls_token"};

/// A token is written as its text, or as an object that holds it.
std::string text_of(const json_place& token) {
  return token.value.is_object() ? token["content"].text() : token.absent() ? std::string() : token.text();
}

void read_named(const json_place& root, tokens_beside& to) {
  for (const char* name : token_names)
    if (const std::string text = text_of(root[name]); !text.empty()) to.named.insert(text);
  for (const char* name : token_lists)
    if (root[name].value.is_array())
      for (const json_place& token : root[name].list()) to.named.insert(text_of(token));
  if (to.bos.empty()) to.bos = text_of(root["bos_token"]);
  if (to.eos.empty()) to.eos = text_of(root["eos_token"]);
}

void add(const json_place& where, int id, const std::string& text, bool special, tokens_beside& to) {
  if (text.empty()) where.want("a token's text");
  if (!to.ids.emplace(text, id).second) throw broken_json(where.where + " gives '" + text + "' a second id");
  if (!to.added.emplace(id, tokens_beside::token{text, special}).second)
    throw broken_json(where.where + ": id " + std::to_string(id) + " is that of another token");
}

/// "added_tokens_decoder": tokens by id, which is written as a string there.
void read_decoder(const json_place& decoder, tokens_beside& to) {
  if (!decoder.value.is_object()) decoder.want("an object");
  for (const auto& [key, value] : decoder.value.items()) {
    const json_place token{value, decoder.where + "." + key};
    int id = -1;
    const auto end = std::from_chars(key.data(), key.data() + key.size(), id);
    if (end.ec != std::errc() || end.ptr != key.data() + key.size() || id < 0 || id > 1 << 30)
      throw broken_json(token.where + " is named by no token id");
    for (const char* flag : {"single_word", "lstrip", "rstrip"})
      if (token[flag].flag(false)) token[flag].refuse();
    add(token, id, token["content"].text(), token["special"].flag(false), to);
  }
}

void read_config(const json_place& root, tokens_beside& to) {
  to.opens = root["add_bos_token"].flag(true);
  to.closes = root["add_eos_token"].flag(false);
  to.prefix = root["add_prefix_space"].flag(true);
  to.prefix_each = root["legacy"].flag(false);
  read_named(root, to);
  if (!root["added_tokens_decoder"].absent()) read_decoder(root["added_tokens_decoder"], to);
}

void read_added(const json_place& root, tokens_beside& to) {
  for (const auto& [text, value] : root.value.items()) {
    const json_place id{value, text};
    add(id, id.id(), text, to.named.contains(text), to);
  }
}

/// read(root) where the folder has this file.
void where_there(const std::filesystem::path& file, const std::function<void(const json_place&)>& read) {
  if (!is_there(file)) return;
  const nlohmann::json root = read_json_object(file);
  try {
    read({root, ""});
  } catch (const broken_json& e) {
    throw load_error(file,
                     std::string(e.what()) + ". Fetch it again from the checkpoint, or give token ids instead of text");
  } catch (const unsupported_json& e) {
    throw load_error(file,
                     "asks for something unsupported: " + std::string(e.what()) + ". Give token ids instead of text");
  }
}

}  // namespace

tokens_beside read_tokens_beside(const std::filesystem::path& directory) {
  tokens_beside all;
  where_there(directory / "tokenizer_config.json", [&](const json_place& root) { read_config(root, all); });
  where_there(directory / "special_tokens_map.json", [&](const json_place& root) { read_named(root, all); });
  if (all.added.empty())
    where_there(directory / "added_tokens.json", [&](const json_place& root) { read_added(root, all); });
  return all;
}

}  // namespace mini_llama
