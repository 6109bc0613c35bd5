// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
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

/// PyramidKV (arXiv 2406.02069, section 4 and appendix A.4; the authors' code): the tokens beside `least`, the window,
/// fall in equal steps from the first owner to the last. Readers do not count. Needs no evidence.
///
/// Unlike in the authors' code, whose integer divisions keep 5 to 29 % more than was asked for, the sum is exact.
struct pyramidkv {
  double beta = 20;  ///< the last owner has 1 / beta of the average beside the window; 1 is uniform

  /// Returns errc::bad_argument for beta below 1, else what refuse_request does. A prompt that is shorter than twice
  /// the average beside the window gets a uniform budget, as in the authors' code. O(sets log sets).
  result<token_budget> spread(const budget_evidence&, const budget_request& r) const {
    if (!is_finite(beta) || beta < 1)
      return error(errc::bad_argument, "pyramidkv with beta " + std::to_string(beta) + "; it must be at least 1");
    if (auto refused = refuse_request(r)) return *refused;
    if (r.tokens <= r.average) return everything(r);
    std::vector<index_t> of_sets = beside_window(r.sets, r.average - r.least, r.tokens - r.least, r.tokens);
    for (index_t& n : of_sets) n += r.least;
    return token_budget::even(of_sets, r.kv_heads);
  }

 private:
  /// Per set, with the mean `average`, of `older` tokens that are not in the window of a prompt of `tokens`.
  std::vector<index_t> beside_window(index_t sets, index_t average, index_t older, index_t tokens) const {
    if (tokens < 2 * average || sets == 1) return std::vector<index_t>(static_cast<std::size_t>(sets), average);
    const auto mean = static_cast<double>(average);
    double last = mean / beta, first = 2 * mean - last;
    if (first >= static_cast<double>(older)) {
      first = static_cast<double>(older);
      last = 2 * mean - first;
    }
    std::vector<double> shares;
    for (index_t s = 0; s < sets; ++s)
      shares.push_back(first - static_cast<double>(s) * (first - last) / static_cast<double>(sets - 1));
    return largest_remainder(shares, sets * average);
  }
};
static_assert(BudgetPolicy<pyramidkv>);

}  // namespace kvsharer::inline v0::budget
