// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokens/text_coder.hpp"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace mini_llama {

/// A SentencePiece model, tokenizer.model.
class sentencepiece_coder : public text_coder {
 public:
  /// Throws load_error when `file` is missing or no SentencePiece model.
  explicit sentencepiece_coder(const std::filesystem::path& file);
  ~sentencepiece_coder() override;

  std::vector<int> encode(std::string_view text, bool bos) const override;
  std::string decode(std::span<const int> ids) const override;
  std::string decode_next(std::span<const int> ids, std::size_t& known) const override;
  int vocab() const override;

 private:
  std::unique_ptr<sentencepiece::SentencePieceProcessor> model_;
};

}  // namespace mini_llama
