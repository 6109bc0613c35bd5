// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "kvsharer/budget/check_request.hpp"
#include "kvsharer/concepts/budgets.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/token_budget.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::budget {

/// As many tokens for every head. Needs no evidence.
struct uniform {
  /// `average` tokens each. Returns what refuse_request does.
  result<token_budget> spread(const budget_evidence&, const budget_request& r) const {
    if (auto refused = refuse_request(r)) return *refused;
    if (r.tokens <= r.average) return everything(r);
    return token_budget::even(std::vector<index_t>(static_cast<std::size_t>(r.sets), r.average), r.kv_heads);
  }
};
static_assert(BudgetPolicy<uniform>);

}  // namespace kvsharer::inline v0::budget
