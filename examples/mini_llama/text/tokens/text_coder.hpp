// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mini_llama {

/// Text to token ids and back, as one kind of tokenizer file has it: what `tokenizer` hands its work to. Reading it
/// from several threads is safe.
class text_coder {
 public:
  virtual ~text_coder() = default;

  /// The ids of `text`, which is UTF-8; with `framed`, between what the files put before and behind a text. Throws
  /// load_error for a text that has none.
  virtual std::vector<int> encode(std::string_view text, bool framed) const = 0;

  /// The text of `ids`, always UTF-8; special tokens, and ids outside [0, vocab()), are silent.
  virtual std::string decode(std::span<const int> ids) const = 0;

  /// As tokenizer::decode_next.
  virtual std::string decode_next(std::span<const int> ids, std::size_t& known) const = 0;

  /// One more than the largest id.
  virtual int vocab() const = 0;

  /// The same without tokens that were added beside the file and stand in a text only where they are spelled out.
  virtual int pieces() const { return vocab(); }

  /// Do texts begin with a token of their own, such as BOS?
  virtual bool opens_texts() const = 0;
};

}  // namespace mini_llama
