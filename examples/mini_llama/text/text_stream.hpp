// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "text/tokenizer.hpp"

namespace mini_llama {

/// The text of tokens that arrive one by one, for showing it at once. Borrows the tokenizer.
class text_stream {
 public:
  /// Behind `prompt`, whose text comes with the first token.
  explicit text_stream(const tokenizer& words, std::vector<int> prompt = {}) : words_(words), ids_(std::move(prompt)) {}

  /// The text that is certain now that `token` is there, in whole characters.
  std::string next(int token);

  /// What was held back, once no token follows: U+FFFD for a character that was never finished. All that was returned
  /// joins to the text of all tokens.
  std::string rest();

 private:
  const tokenizer& words_;
  std::vector<int> ids_;
  std::size_t known_ = 0, shown_ = 0;
};

}  // namespace mini_llama
