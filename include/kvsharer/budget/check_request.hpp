// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "kvsharer/concepts/budgets.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/token_budget.hpp"
#include "kvsharer/core/types.hpp"

/// What every budget refuses, in one place.
namespace kvsharer::inline v0::budget {

/// Nothing for a request that can be met, else errc::bad_shape for sizes that are not positive or do not agree, and
/// errc::bad_argument for numbers of tokens that leave no choice.
inline std::optional<error> refuse_request(const budget_request& r) {
  if (r.sets <= 0 || r.kv_heads <= 0)
    return error(errc::bad_shape, "a budget for " + std::to_string(r.sets) + " token sets of " +
                                      std::to_string(r.kv_heads) + " KV heads; both must be positive");
  if (!r.depth.empty() && static_cast<index_t>(r.depth.size()) != r.sets)
    return error(errc::bad_shape, "a budget for " + std::to_string(r.sets) + " token sets in " +
                                      std::to_string(r.depth.size()) + " layers; give the owner's layer of each set");
  for (std::size_t i = 0; i < r.depth.size(); ++i)
    if (r.depth[i] < (i == 0 ? 0 : r.depth[i - 1] + 1) || (r.layers > 0 && r.depth[i] >= r.layers))
      return error(errc::bad_shape, "a budget's token set " + std::to_string(i) + " is of layer " +
                                        std::to_string(r.depth[i]) + "; layers must ascend, within the model");
  if (r.layers != 0 && r.layers < r.sets)
    return error(errc::bad_shape, "a budget for " + std::to_string(r.sets) + " token sets of a model with " +
                                      std::to_string(r.layers) + " layers");
  if (r.tokens < 0 || r.least < 0)
    return error(errc::bad_argument, "a budget for a prompt of " + std::to_string(r.tokens) + " tokens with " +
                                         std::to_string(r.least) + " kept in any case; neither may be negative");
  if (r.average <= r.least)
    return error(errc::bad_argument, "a budget of " + std::to_string(r.average) + " tokens per head, of which " +
                                         std::to_string(r.least) +
                                         " are kept in any case, leaves nothing to choose; ask for more");
  return std::nullopt;
}

/// Nothing for numbers of the right count that are finite and not negative (above zero, if `positive`), else
/// errc::bad_shape or errc::not_finite. `what` names them in the error text: "spread".
inline std::optional<error> refuse_numbers(std::span<const double> numbers, index_t count, const std::string& what) {
  if (static_cast<index_t>(numbers.size()) != count)
    return error(errc::bad_shape, std::to_string(numbers.size()) + " numbers for the " + what + " of " +
                                      std::to_string(count) + " heads; measure one for each KV head of each token set");
  for (std::size_t i = 0; i < numbers.size(); ++i)
    if (!is_finite(numbers[i]) || numbers[i] < 0)
      return error(errc::not_finite, "the " + what + " of head " + std::to_string(i) + " is " +
                                         std::to_string(numbers[i]) + "; it must be a number that is not negative");
  return std::nullopt;
}

/// The budget of a prompt that is kept whole: `tokens` for every head.
inline token_budget everything(const budget_request& r) {
  return {r.kv_heads, std::vector<index_t>(static_cast<std::size_t>(r.sets * r.kv_heads), r.tokens)};
}

}  // namespace kvsharer::inline v0::budget
