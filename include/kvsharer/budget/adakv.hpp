// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/budget/check_request.hpp"
#include "kvsharer/budget/largest_remainder.hpp"
#include "kvsharer/budget/uniform.hpp"
#include "kvsharer/concepts/budgets.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/token_budget.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::budget {

/// How many of `keep` places each head gets if all its tokens compete: every head is certain of its `certain` best
/// tokens, and the other places go to the best of all that are left. `scores` are [heads][n]; of equal scores the lower
/// head wins, and in a head the lower token. Preconditions: certain <= n, heads x certain <= keep <= heads x n; no
/// score is NaN. O(heads x n log(heads x n)).
inline std::vector<index_t> share_by_score(std::span<const float> scores, index_t heads, index_t certain,
                                           index_t keep) {
  const auto n = static_cast<index_t>(scores.size()) / heads;
  const auto score = [&](index_t i) { return scores[static_cast<std::size_t>(i)]; };
  const auto better = [&](index_t a, index_t b) { return score(a) != score(b) ? score(a) > score(b) : a < b; };
  std::vector<index_t> rest, of_head(static_cast<std::size_t>(n)), counts(static_cast<std::size_t>(heads), certain);
  for (index_t h = 0; h < heads; ++h) {
    std::iota(of_head.begin(), of_head.end(), h * n);
    std::nth_element(of_head.begin(), of_head.begin() + (certain < n ? certain : 0), of_head.end(), better);
    rest.insert(rest.end(), of_head.begin() + certain, of_head.end());
  }
  const index_t open = keep - heads * certain;
  std::nth_element(rest.begin(), rest.begin() + (open < static_cast<index_t>(rest.size()) ? open : 0), rest.end(),
                   better);
  for (index_t i = 0; i < open; ++i) ++counts[static_cast<std::size_t>(rest[static_cast<std::size_t>(i)] / n)];
  return counts;
}

/// Ada-KV (arXiv 2407.11550): the heads of a set compete for its tokens by their scores. `Inner` says how many tokens a
/// set has. Evidence: `scores` of the tokens beside `least`, such as SnapKV's, and what `Inner` needs; they must be
/// comparable from head to head, as attention is and norms are not. The authors round each head alone, so that a set
/// gains or loses tokens; here the sum of a set is exact, and the attention that is kept never less than with equal
/// heads.
template <BudgetPolicy Inner = uniform>
struct adakv {
  Inner inner = {};        ///< tokens of the sets
  double safeguard = 0.2;  ///< each head is certain of this part of the set's smallest in `inner`, beside `least`

  /// Returns errc::bad_argument for a safeguard outside [0, 1], errc::bad_shape and errc::not_finite for scores of
  /// another number or that are NaN, and what `inner` does. O(n log n) for all n scores.
  result<token_budget> spread(const budget_evidence& e, const budget_request& r) const {
    if (!is_finite(safeguard) || safeguard < 0 || safeguard > 1)
      return error(errc::bad_argument,
                   "adakv with a safeguard of " + std::to_string(safeguard) + "; it must be between 0 and 1");
    result<token_budget> of_inner = inner.spread(e, r);
    if (!of_inner || r.tokens <= r.average) return of_inner;
    const index_t older = r.tokens - r.least;
    const index_t of_set = r.kv_heads * older;
    if (static_cast<index_t>(e.scores.size()) != r.sets * of_set)
      return error(errc::bad_shape, std::to_string(e.scores.size()) + " scores for " + std::to_string(r.sets) +
                                        " token sets of " + std::to_string(r.kv_heads) + " heads and " +
                                        std::to_string(older) + " tokens beside those kept in any case");
    if (std::any_of(e.scores.begin(), e.scores.end(), [](const float& s) { return is_nan(s); }))
      return error(errc::not_finite, "a score of adakv is NaN");
    token_budget b = std::move(of_inner).value();
    for (index_t s = 0; s < r.sets; ++s) {
      index_t keep = 0, fewest = older;
      for (index_t h = 0; h < r.kv_heads; ++h) {
        const index_t beside = std::clamp<index_t>(b.at(s, h) - r.least, 0, older);
        keep += beside;
        fewest = std::min(fewest, beside);
      }
      const index_t certain = floor_of(safeguard * static_cast<double>(fewest));
      const auto counts =
          share_by_score(e.scores.subspan(static_cast<std::size_t>(s * of_set), static_cast<std::size_t>(of_set)),
                         r.kv_heads, certain, keep);
      for (index_t h = 0; h < r.kv_heads; ++h)
        b.tokens[static_cast<std::size_t>(s * r.kv_heads + h)] = r.least + counts[static_cast<std::size_t>(h)];
    }
    return b;
  }
};
static_assert(BudgetPolicy<adakv<>>);

}  // namespace kvsharer::inline v0::budget
