// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <optional>
#include <string>
#include <vector>

#include "kvsharer/budget/check_request.hpp"
#include "kvsharer/budget/largest_remainder.hpp"
#include "kvsharer/concepts/budgets.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/token_budget.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::budget {

/// The numbers of tokens that PyramidInfer stores (arXiv 2405.12532; the arithmetic of the authors' code): every layer
/// keeps the newest part of the prompt, and of the rest a share that falls with depth, in a cosine. Shares multiply
/// from layer to layer. An owner keeps what its layer would keep in the model without sharing. Needs no evidence, and
/// decides the total itself: `average` and `least` of the request are not asked.
struct pyramidinfer {
  double recent = 0.2;       ///< newest part of the prompt, which every layer keeps, beside the last token
  double decay = 0.9;        ///< share of the rest that would be left at depth `layers`; 0.8 for 13B models
  index_t min_context = 64;  ///< no layer is cut to as few as this of the rest
  index_t interval = 1;      ///< every so many layers tokens are dropped; 2 for 13B models, 3 for 70B

  /// Newest tokens that every layer keeps: the last one, and `recent` of the prompt before it. Precondition: tokens >=
  /// 0.
  index_t newest(index_t tokens) const noexcept {
    return std::min(tokens, 1 + floor_of(recent * static_cast<double>(tokens)));
  }

  /// Tokens that each of `layers` layers stores of a prompt. O(layers).
  std::vector<index_t> per_layer(index_t tokens, index_t layers) const {
    const index_t m = newest(tokens), fewest = std::min(min_context, tokens - m);
    std::vector<index_t> stored;
    index_t here = tokens;
    for (index_t l = 0; l < layers; ++l) {
      stored.push_back(here);
      const double depth = static_cast<double>(l) / static_cast<double>(layers);
      const double share = decay + (1 - decay) * (1 + std::cos(std::numbers::pi * depth)) / 2;
      const index_t rest = here - m;
      if (l % interval != 0 || rest <= fewest || !(share < 1)) continue;
      const index_t left = floor_of(static_cast<double>(rest) * share);
      if (left > fewest) here = left + m;
    }
    return stored;
  }

  /// Returns errc::bad_argument for options outside their range, else what refuse_request does.
  result<token_budget> spread(const budget_evidence&, const budget_request& r) const {
    if (!in_unit(recent) || !in_unit(decay) || min_context < 0 || interval < 1)
      return error(errc::bad_argument,
                   "pyramidinfer with a recent part of " + std::to_string(recent) + ", a decay of " +
                       std::to_string(decay) + ", " + std::to_string(min_context) + " tokens of context and interval " +
                       std::to_string(interval) + "; the first two are between 0 and 1, the last at least 1");
    if (auto refused = refuse_request(with_room(r))) return *refused;
    const index_t depths = r.depth.empty() ? r.sets : r.depth.back() + 1;
    const std::vector<index_t> stored = per_layer(r.tokens, std::max(r.layers, depths));
    std::vector<index_t> of_sets;
    for (index_t s = 0; s < r.sets; ++s)
      of_sets.push_back(stored[static_cast<std::size_t>(r.depth.empty() ? s : r.depth[static_cast<std::size_t>(s)])]);
    return token_budget::even(of_sets, r.kv_heads);
  }

 private:
  static bool in_unit(const double& x) noexcept { return is_finite(x) && x >= 0 && x <= 1; }
  static budget_request with_room(budget_request r) noexcept {
    r.least = 0;
    r.average = 1;
    return r;
  }
};
static_assert(BudgetPolicy<pyramidinfer>);

}  // namespace kvsharer::inline v0::budget
