// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/budget/check_request.hpp"
#include "kvsharer/budget/within_limits.hpp"
#include "kvsharer/concepts/budgets.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/token_budget.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::budget {

/// A floor for all, and the rest in proportion to `values`, which are >= 0: floor x average each, and
/// (1 - floor) x average x n x value / sum. Then within_limits, with the sum n x average. Where all values are 0, all
/// get the same.
inline std::vector<index_t> floor_and_share(std::span<const double> values, index_t average, double floor,
                                            index_t least, index_t most) {
  const auto n = static_cast<double>(values.size()), mean = static_cast<double>(average);
  const double largest = values.empty() ? 0 : *std::max_element(values.begin(), values.end());
  const auto relative = [&](double v) { return largest > 0 ? v / largest : 1.0; };  // whose sum is no infinity
  double sum = 0;
  for (const double v : values) sum += relative(v);
  std::vector<double> shares, weights;
  for (const double v : values) {
    weights.push_back(relative(v) / sum);
    shares.push_back(floor * mean + (1 - floor) * mean * n * weights.back());
  }
  return within_limits(shares, weights, least, most, static_cast<index_t>(values.size()) * average);
}

/// Nothing for a floor in [0, 1], else errc::bad_argument.
inline std::optional<error> refuse_floor(double floor) {
  if (is_finite(floor) && floor >= 0 && floor <= 1) return std::nullopt;
  return error(errc::bad_argument, "a budget with a floor of " + std::to_string(floor) +
                                       " of the average; the floor must be between 0 and 1");
}

/// ZigZagKV (arXiv 2412.09036): every set has a floor, and the rest in proportion to how many tokens its attention
/// needs. Evidence: `spread`, by minimum_tokens for each query head, averaged over the heads of a group; or
/// one number for each set, unless `per_head`. It depends on
/// the prompt, so all sets must have been measured before the first one drops anything. The paper's text was not at
/// hand and its authors published no code: the formula is that of its citations.
struct zigzagkv {
  double floor = 0.2;     ///< of the average, for every set
  bool per_head = false;  ///< divides each set's tokens among its KV heads by the same formula

  /// Returns errc::bad_argument for a floor outside [0, 1], what refuse_numbers does for `spread`, and what
  /// refuse_request does.
  result<token_budget> spread(const budget_evidence& e, const budget_request& r) const {
    if (auto refused = refuse_floor(floor)) return *refused;
    if (auto refused = refuse_request(r)) return *refused;
    const bool of_sets_alone = !per_head && static_cast<index_t>(e.spread.size()) == r.sets;
    const index_t measured = of_sets_alone ? 1 : r.kv_heads;
    if (auto refused = refuse_numbers(e.spread, r.sets * measured, "spread")) return *refused;
    if (r.tokens <= r.average) return everything(r);
    const auto heads = static_cast<std::size_t>(measured);
    std::vector<double> means;
    for (std::size_t s = 0; s < e.spread.size(); s += heads) {
      const auto of_set = e.spread.subspan(s, heads);
      means.push_back(std::accumulate(of_set.begin(), of_set.end(), 0.0) / static_cast<double>(heads));
    }
    const std::vector<index_t> of_sets = floor_and_share(means, r.average, floor, r.least, r.tokens);
    if (!per_head) return token_budget::even(of_sets, r.kv_heads);
    token_budget b{.kv_heads = r.kv_heads};
    for (std::size_t s = 0; s < of_sets.size(); ++s) {
      const auto of_heads = floor_and_share(e.spread.subspan(s * heads, heads), of_sets[s], floor, r.least, r.tokens);
      b.tokens.insert(b.tokens.end(), of_heads.begin(), of_heads.end());
    }
    return b;
  }
};
static_assert(BudgetPolicy<zigzagkv>);

}  // namespace kvsharer::inline v0::budget
