// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokens/added_tokens.hpp"
#include "text/tokens/merge_table.hpp"
#include "text/tokens/splitter.hpp"
#include "text/tokens/text_coder.hpp"

namespace mini_llama {

/// What a tokenizer.json of byte-level BPE says.
struct byte_level_parts {
  std::vector<std::string> pieces;  ///< by id, as bytes; empty for ids that no token has and for special tokens
  added_tokens raw, normalized;     ///< found in the text as it is, and in the normalized text
  bool composed = false;            ///< the text is normalized to NFC
  splitter words;
  std::unordered_map<std::string, int> whole;  ///< words that are taken without merging, where the file ignores merges
  merge_table merges;
  std::vector<int> before;  ///< what is put before a text: BOS, or nothing
};

/// Reads a tokenizer.json as Llama 3, Qwen and Mistral-Nemo have it. Throws load_error for a file that is broken, and
/// for one that asks for something else, naming it.
byte_level_parts read_byte_level(const std::filesystem::path& file);

/// Byte-level BPE: words are runs of bytes, so that any text has ids; bytes without a token may be left out.
class byte_level : public text_coder {
 public:
  explicit byte_level(byte_level_parts parts) : parts_(std::move(parts)) {}

  /// Throws load_error for text that is no UTF-8.
  std::vector<int> encode(std::string_view text, bool framed) const override;
  std::string decode(std::span<const int> ids) const override;
  std::string decode_next(std::span<const int> ids, std::size_t& known) const override;
  int vocab() const override { return static_cast<int>(parts_.pieces.size()); }
  bool opens_texts() const override { return !parts_.before.empty(); }

 private:
  void append_word(std::string_view word, std::vector<int>& ids) const;
  std::string_view bytes_of(int id) const;

  byte_level_parts parts_;
};

}  // namespace mini_llama
