// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mini_llama {

/// Tokens that are found in a text before it is cut into words, such as <|eot_id|>.
class added_tokens {
 public:
  /// `text` is not empty.
  void add(std::string text, int id);

  /// Calls token(id) for each of these tokens in `text` and between(piece) for what lies between them, which is never
  /// empty, from left to right. Where several begin at one place the longest counts.
  void find(std::string_view text, const std::function<void(int)>& token,
            const std::function<void(std::string_view)>& between) const;

 private:
  struct added {
    std::string text;
    int id;
  };
  std::array<std::vector<added>, 256> by_first_byte_;  // longest first
};

}  // namespace mini_llama
