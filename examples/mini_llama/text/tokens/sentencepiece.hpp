// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokens/added_tokens.hpp"
#include "text/tokens/text_coder.hpp"
#include "text/tokens/tokens_beside.hpp"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace mini_llama {

/// A SentencePiece model, tokenizer.model, with the tokens that files beside it add.
class sentencepiece_coder : public text_coder {
 public:
  /// Throws load_error when `file` is missing or no SentencePiece model, or what is beside it is broken.
  explicit sentencepiece_coder(const std::filesystem::path& file);
  ~sentencepiece_coder() override;

  std::vector<int> encode(std::string_view text, bool framed) const override;
  std::string decode(std::span<const int> ids) const override;
  std::string decode_next(std::span<const int> ids, std::size_t& known) const override;
  int vocab() const override;
  int pieces() const override;
  bool opens_texts() const override { return beside_.opens && bos_ >= 0; }

 private:
  using model = std::unique_ptr<sentencepiece::SentencePieceProcessor>;

  /// The id of an added token or a piece, or `otherwise` where there is none of this text.
  int id_of(const std::string& text, int otherwise) const;
  bool is_silent(int id) const;

  tokens_beside beside_;
  model opening_, following_;  ///< the file's, and the same without the blank that it puts before a text
  added_tokens spelled_;
  int bos_, eos_;
};

}  // namespace mini_llama
