// SPDX-License-Identifier: Apache-2.0
#include "text/tokens/byte_level_vocabulary.hpp"

#include <cstddef>
#include <optional>
#include <vector>

#include "text/tokens/byte_alphabet.hpp"
#include "text/tokens/nfc.hpp"

namespace mini_llama {
namespace {

/// For messages: what may be any bytes, as JSON spells it.
std::string quoted(const std::string& text) { return json_place{nlohmann::json(text), ""}.shown(); }

}  // namespace

void byte_level_vocabulary::read(const json_place& vocab, bool ignore_merges) {
  if (!vocab.value.is_object()) vocab.want("an object");
  for (const auto& [spelling, id] : vocab.value.items()) {
    add(spelling, {id, vocab.where + "[" + quoted(spelling) + "]"});
    if (const auto bytes = spelled_bytes(spelling); bytes && ignore_merges) to_.whole.emplace(*bytes, ids_[spelling]);
  }
}

void byte_level_vocabulary::read_bytes(const json_place& model) {
  const auto find = [&](const std::string& spelling) {
    const auto found = ids_.find(spelling);
    return found == ids_.end() ? -1 : found->second;
  };
  // A vocabulary lacks bytes that never stood in the text that it was trained on.
  bool whole = true;
  for (unsigned byte = 0; byte < 256; ++byte) {
    to_.merges.bytes[byte] = find(byte_letter(static_cast<unsigned char>(byte)));
    whole = whole && to_.merges.bytes[byte] >= 0;
  }
  const json_place unknown = model["unk_token"];
  if (whole || unknown.absent()) return;
  to_.merges.unknown = find(unknown.text());
  to_.merges.fuses_unknown = model["fuse_unk"].flag(false);
  if (to_.merges.unknown < 0) unknown.want("a token of the vocabulary, which lacks some bytes");
}

void byte_level_vocabulary::read_added(const json_place& token) {
  for (const char* flag : {"single_word", "lstrip", "rstrip"})
    if (token[flag].flag(false)) token[flag].refuse();
  const bool normalized = token["normalized"].flag(true);
  // What is looked for in normalized text is normalized too, and is the token's spelling from then on.
  const std::string content = normalized && to_.composed ? nfc(token["content"].text()) : token["content"].text();
  if (content.empty()) token["content"].want("a token's text");
  const int id = token["id"].id();
  const auto known = ids_.find(content);
  if (known == ids_.end())
    add(content, token["id"]);
  else if (known->second != id)
    throw broken_json(token["id"].where + " is " + std::to_string(id) + ", but " + quoted(content) + " has the id " +
                      std::to_string(known->second) + " already");
  if (token["special"].flag(false)) specials_.insert(id);
  (normalized ? to_.normalized : to_.raw).add(content, id);
}

void byte_level_vocabulary::read_merge(const json_place& merge) {
  std::string left, right;
  if (merge.value.is_string()) {
    const std::string& both = merge.text();
    if (both.starts_with("#version")) return;  // the first line of the text files that older tokenizers had
    const std::size_t blank = both.find(' ');
    if (blank == std::string::npos || both.find(' ', blank + 1) != std::string::npos)
      merge.want("two pieces with a blank between them");
    left = both.substr(0, blank);
    right = both.substr(blank + 1);
  } else {
    const std::vector<json_place> pair = merge.list();
    if (pair.size() != 2) merge.want("a pair of pieces");
    left = pair[0].text();
    right = pair[1].text();
  }
  to_.merges.add(id_of(left, merge), id_of(right, merge), id_of(left + right, merge));
}

void byte_level_vocabulary::finish() {
  // A few holes are usual; one huge id would take all memory.
  constexpr std::size_t holes = 1 << 16;
  const auto largest = static_cast<std::size_t>(*taken_.rbegin());
  if (largest > taken_.size() + holes)
    throw broken_json("has " + std::to_string(taken_.size()) + " tokens, but one has the id " +
                      std::to_string(largest));
  to_.pieces.resize(largest + 1);
  // Added tokens are read through the alphabet as well, where they can be: the reference does so.
  for (const auto& [spelling, id] : ids_)
    if (!specials_.contains(id)) to_.pieces[static_cast<std::size_t>(id)] = spelled_bytes(spelling).value_or(spelling);
}

void byte_level_vocabulary::add(const std::string& spelling, const json_place& id) {
  const int value = id.id();
  if (!taken_.insert(value).second)
    throw broken_json(id.where + " is " + std::to_string(value) + ", the id of another token");
  ids_.emplace(spelling, value);
}

int byte_level_vocabulary::id_of(const std::string& spelling, const json_place& merge) const {
  const auto found = ids_.find(spelling);
  if (found == ids_.end())
    throw broken_json(merge.where + " is " + merge.shown() + ", but " + quoted(spelling) + " is not in the vocabulary");
  return found->second;
}

}  // namespace mini_llama
