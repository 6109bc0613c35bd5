// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mini_llama::report {

/// A text where it parts from another.
struct parted_text {
  std::string_view same;        ///< whole words, as the other has them
  std::string_view difference;  ///< the first word that is another; empty where the other goes on with this text
  std::string_view rest;
};

/// By words, which keeps UTF-8 characters whole; borrows `text`.
parted_text part(std::string_view text, std::string_view other);

/// How many tokens the two have in common before the first difference.
std::size_t common_tokens(const std::vector<int>& a, const std::vector<int>& b);

}  // namespace mini_llama::report
