// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "kvsharer/budget/check_request.hpp"
#include "kvsharer/concepts/budgets.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/token_budget.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::budget {

/// Every head keeps the tokens whose score reaches a number, beside `least`: as many as that are. So the total depends
/// on the prompt, and memory is not bounded by it; `average` of the request is the most that a head keeps, and must be
/// the prompt's length where no limit is wanted. Evidence: `scores`.
struct threshold {
  float score = 0;  ///< the least score of a token that is kept

  /// Returns errc::not_finite for a threshold or a score that is NaN, errc::bad_shape for another number of scores, and
  /// what refuse_request does. O(scores).
  result<token_budget> spread(const budget_evidence& e, const budget_request& r) const {
    if (auto refused = refuse_request(r)) return *refused;
    if (r.tokens <= r.least) return everything(r);
    const index_t older = r.tokens - r.least, heads = r.sets * r.kv_heads;
    if (static_cast<index_t>(e.scores.size()) != heads * older)
      return error(errc::bad_shape, std::to_string(e.scores.size()) + " scores for " + std::to_string(heads) +
                                        " heads and " + std::to_string(older) +
                                        " tokens beside those kept in any case");
    if (is_nan(score) || std::any_of(e.scores.begin(), e.scores.end(), [](const float& s) { return is_nan(s); }))
      return error(errc::not_finite, "a score of the budget by threshold is NaN");
    token_budget b{.kv_heads = r.kv_heads};
    for (index_t h = 0; h < heads; ++h) {
      const auto of_head = e.scores.subspan(static_cast<std::size_t>(h * older), static_cast<std::size_t>(older));
      const auto reached = std::count_if(of_head.begin(), of_head.end(), [&](float s) { return s >= score; });
      b.tokens.push_back(std::min(r.average, r.least + static_cast<index_t>(reached)));
    }
    return b;
  }
};
static_assert(BudgetPolicy<threshold>);

}  // namespace kvsharer::inline v0::budget
