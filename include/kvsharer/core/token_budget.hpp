// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// How many tokens of a sequence every KV head of every token set (core/token_sets.hpp) keeps. The tokens that a method
/// keeps in any case, such as the newest ones, are included.
struct token_budget {
  index_t kv_heads = 1;              ///< heads of a set
  std::vector<index_t> tokens = {};  ///< [sets][kv_heads], none negative

  /// Every head of a set keeps the same number: `of_sets` [sets].
  static token_budget even(std::span<const index_t> of_sets, index_t kv_heads) {
    token_budget b{.kv_heads = kv_heads};
    for (const index_t n : of_sets) b.tokens.insert(b.tokens.end(), static_cast<std::size_t>(kv_heads), n);
    return b;
  }

  /// Token sets.
  index_t sets() const noexcept { return static_cast<index_t>(tokens.size()) / kv_heads; }
  /// Tokens of one head. Precondition: set and head exist.
  index_t at(index_t set, index_t head) const noexcept {
    return tokens[static_cast<std::size_t>(set * kv_heads + head)];
  }
  /// Tokens of all heads of all sets. O(sets x heads).
  index_t total() const noexcept { return std::accumulate(tokens.begin(), tokens.end(), index_t{0}); }
  /// Do the heads of each set keep equally many tokens, so that a list of tokens for each set is enough? O(sets x
  /// heads).
  bool even_heads() const noexcept {
    for (std::size_t i = 0; i < tokens.size(); ++i)
      if (tokens[i] != tokens[i - i % static_cast<std::size_t>(kv_heads)]) return false;
    return true;
  }

  /// The same numbers.
  friend bool operator==(const token_budget&, const token_budget&) = default;
};

}  // namespace kvsharer::inline v0
