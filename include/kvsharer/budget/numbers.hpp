// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "kvsharer/budget/check_request.hpp"
#include "kvsharer/concepts/budgets.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/token_budget.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::budget {

/// Reads the numbers of a file: a line for each token set, in order, with a number of tokens for each KV head, or one
/// for all. Blanks or commas separate numbers; empty lines, and what follows a #, are left out. Returns errc::bad_rule,
/// which names the line, for anything else, and for text without numbers; errc::bad_shape for no heads. O(length).
inline result<token_budget> read_numbers(std::string_view text, index_t kv_heads) {
  if (kv_heads < 1) return error(errc::bad_shape, "a budget for " + std::to_string(kv_heads) + " KV heads");
  token_budget b{.kv_heads = kv_heads};
  const auto refuse = [](index_t line, const std::string& why) {
    return error(errc::bad_rule,
                 "line " + std::to_string(line) + " of the budget " + why +
                     "; write a line for each token set, with a number for each KV head or one for all");
  };
  index_t number = 0;
  while (!text.empty()) {
    ++number;
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    line = line.substr(0, line.find('#'));
    const std::size_t before = b.tokens.size();
    for (std::size_t at = 0; (at = line.find_first_not_of(" \t\r,", at)) != line.npos;) {
      index_t tokens = 0;
      const auto [stopped, failure] = std::from_chars(line.data() + at, line.data() + line.size(), tokens);
      const auto next = static_cast<std::size_t>(stopped - line.data());
      if (failure != std::errc{} || tokens < 0 ||
          (next < line.size() && std::string_view(" \t\r,").find(line[next]) == line.npos))
        return refuse(number, "has something that is no number of tokens");
      b.tokens.push_back(tokens);
      at = next;
    }
    const auto found = static_cast<index_t>(b.tokens.size() - before);
    if (found == 1) b.tokens.resize(before + static_cast<std::size_t>(kv_heads), b.tokens.back());
    if (found > 1 && found != kv_heads)
      return refuse(number, "has " + std::to_string(found) + " numbers for " + std::to_string(kv_heads) + " KV heads");
  }
  if (b.tokens.empty()) return refuse(number, "is the last, and none had a number");
  return b;
}

/// What read_numbers reads: one number for a set whose heads have the same.
inline std::string numbers_text(const token_budget& b) {
  std::string text;
  for (index_t s = 0; s < b.sets(); ++s) {
    bool even = true;
    for (index_t h = 1; h < b.kv_heads; ++h) even = even && b.at(s, h) == b.at(s, 0);
    for (index_t h = 0; h < (even ? 1 : b.kv_heads); ++h) text += (h == 0 ? "" : " ") + std::to_string(b.at(s, h));
    text += '\n';
  }
  return text;
}

/// Numbers that somebody else worked out, whatever the prompt. Needs no evidence; `average` and `least` of the request
/// are not asked.
struct numbers {
  token_budget tokens;  ///< of a long prompt

  /// The numbers, none above the prompt's length. Returns errc::bad_shape if they are for other sets or heads.
  result<token_budget> spread(const budget_evidence&, const budget_request& r) const {
    if (tokens.kv_heads != r.kv_heads || tokens.sets() != r.sets || r.kv_heads <= 0)
      return error(errc::bad_shape, "a budget for " + std::to_string(r.sets) + " token sets of " +
                                        std::to_string(r.kv_heads) + " KV heads from numbers for " +
                                        std::to_string(tokens.kv_heads > 0 ? tokens.sets() : 0) + " of " +
                                        std::to_string(tokens.kv_heads));
    token_budget b = tokens;
    for (index_t& n : b.tokens) n = std::min(n, r.tokens);
    return b;
  }
};
static_assert(BudgetPolicy<numbers>);

}  // namespace kvsharer::inline v0::budget
