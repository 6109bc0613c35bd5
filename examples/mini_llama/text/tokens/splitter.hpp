// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tokens/pattern.hpp"

namespace mini_llama {

/// One step of a pre-tokenizer, on every piece that the steps before it made.
struct split_step {
  enum class keep { all, matches, others };

  pattern at;
  keep kept = keep::all;      ///< of the matches and what lies between them
  bool prefix_space = false;  ///< first put a blank in front of a piece that begins with another character
};

/// What a pre-tokenizer does: cuts a text into the words that merges stay within.
class splitter {
 public:
  explicit splitter(std::vector<split_step> steps = {}) : steps_(std::move(steps)) {}

  /// sink(word) for each word of `text`, which is UTF-8, from left to right; none is empty. Throws what
  /// pattern::matches throws.
  void split(std::string_view text, const std::function<void(std::string_view)>& sink) const { run(0, text, sink); }

 private:
  void run(std::size_t step, std::string_view piece, const std::function<void(std::string_view)>& sink) const;

  std::vector<split_step> steps_;
};

}  // namespace mini_llama
