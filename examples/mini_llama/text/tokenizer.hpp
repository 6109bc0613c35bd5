// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "support/load_error.hpp"
#include "text/tokens/text_coder.hpp"

namespace mini_llama {

/// The tokenizer file of a model's folder: tokenizer.model, or tokenizer.json where there is no such file. Throws
/// load_error where there is neither.
std::filesystem::path tokenizer_file(const std::filesystem::path& directory);

/// Does the folder have one?
bool has_tokenizer_file(const std::filesystem::path& directory);

/// Text to token ids and back. Move only; reading it from several threads is safe.
class tokenizer {
 public:
  /// `file` is byte-level BPE where its name ends in .json, and a SentencePiece model otherwise; the tokens that files
  /// beside a SentencePiece model add to it are read, too. Throws load_error when a file is missing, broken, or asks
  /// for what is not supported.
  explicit tokenizer(const std::filesystem::path& file);

  /// The ids of `text`; with `framed`, behind the BOS that the tokenizer puts before a text, where it does, and before
  /// the EOS behind one. Throws load_error for text that is not UTF-8, where it has no ids, and where it spells out an
  /// added token that the model has no embedding for; `origin`, such as a file and a line, is what the message calls
  /// it.
  std::vector<int> encode(std::string_view text, bool framed = true, const std::string& origin = "the text") const;

  /// The text of `ids`; special tokens such as BOS are silent. Throws load_error for an id outside [0, vocab()).
  std::string decode(std::span<const int> ids) const;

  /// What `ids[known..]` add to the text of `ids[..known)`, for printing while tokens are made: the pieces returned for
  /// growing prefixes join to decode(ids). An unfinished UTF-8 character is held back until it is whole; `known` moves
  /// on only past what was returned. Throws as decode does.
  std::string decode_next(std::span<const int> ids, std::size_t& known) const;

  /// One more than the largest id.
  int vocab() const { return coder_->vocab(); }

  /// The same without tokens that stand in a text only where they are spelled out, and that a model may lack.
  int pieces() const { return coder_->pieces(); }

  /// Do texts begin with a token of their own, such as BOS?
  bool opens_texts() const { return coder_->opens_texts(); }

  /// The model has so many embeddings. From now on ids in [vocab(), embeddings) are silent: models often have more rows
  /// than tokens.
  void fit_to(int embeddings) { embeddings_ = embeddings; }

 private:
  void check(std::span<const int> ids) const;

  std::unique_ptr<const text_coder> coder_;
  int embeddings_ = 0;  ///< 0: not known
};

}  // namespace mini_llama
