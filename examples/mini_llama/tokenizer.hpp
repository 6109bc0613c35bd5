// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "load_error.hpp"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace mini_llama {

/// Text to token ids and back, through a SentencePiece model. Move only; reading it from several threads is safe.
class tokenizer {
 public:
  /// Throws load_error when `model_file` is missing or no SentencePiece model.
  explicit tokenizer(const std::filesystem::path& model_file);
  ~tokenizer();
  tokenizer(tokenizer&&) noexcept;
  tokenizer& operator=(tokenizer&&) noexcept;

  /// The ids of `text`, behind the model's BOS where `bos` asks for it and the model has one.
  std::vector<int> encode(std::string_view text, bool bos = true) const;

  /// The text of `ids`; control tokens such as BOS are silent. Throws load_error for an id outside [0, vocab()).
  std::string decode(std::span<const int> ids) const;

  /// What `ids[known..]` add to the text of `ids[..known)`, for printing while tokens are made: the pieces returned for
  /// growing prefixes join to decode(ids). An unfinished UTF-8 character is held back until it is whole; `known` moves
  /// on only past what was returned.
  std::string decode_next(std::span<const int> ids, std::size_t& known) const;

  /// Number of pieces.
  int vocab() const;

 private:
  std::unique_ptr<sentencepiece::SentencePieceProcessor> model_;
};

}  // namespace mini_llama
