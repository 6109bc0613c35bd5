// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/budget/check_request.hpp"
#include "kvsharer/budget/within_limits.hpp"
#include "kvsharer/budget/zigzagkv.hpp"
#include "kvsharer/concepts/budgets.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/token_budget.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::budget {

/// How much attention changes the values of one query head: 1 - the mean, over tokens from the second on, of the cosine
/// of a token's value and of the head's output at it. `values` and `outputs` are [tokens][channels], of a profiling
/// run; the first token is left out, since its output is its value. A cosine with a row of zeros is 0. Returns a number
/// in [0, 2]; it is high, too, for heads that attend to the first token alone, which need few. Throws errc::bad_shape
/// for other sizes or fewer than two tokens. In double; O(tokens x channels).
inline double value_change(std::span<const float> values, std::span<const float> outputs, index_t tokens,
                           index_t channels) {
  if (tokens < 2 || channels < 1 || static_cast<index_t>(values.size()) != tokens * channels ||
      values.size() != outputs.size())
    throw error(errc::bad_shape, "the change of " + std::to_string(values.size()) + " numbers to " +
                                     std::to_string(outputs.size()) + ", as rows of " + std::to_string(channels) +
                                     " for " + std::to_string(tokens) + " tokens; give two tokens or more of both");
  double cosines = 0;
  for (index_t t = 1; t < tokens; ++t) {
    double dot = 0, v = 0, o = 0;
    for (index_t c = 0; c < channels; ++c) {
      const auto a = static_cast<double>(values[static_cast<std::size_t>(t * channels + c)]);
      const auto b = static_cast<double>(outputs[static_cast<std::size_t>(t * channels + c)]);
      dot += a * b;
      v += a * a;
      o += b * b;
    }
    if (v > 0 && o > 0) cosines += dot / std::sqrt(v * o);
  }
  return 1 - cosines / static_cast<double>(tokens - 1);
}

/// A budget for every KV head from one profiling run, after BaKlaVa (arXiv 2502.13176). The paper's text was not at
/// hand and there is no code of its authors, so these are rules in its manner: not its own, and so not under its
/// figures. Evidence: `importance`, by value_change, averaged over prompts and over the query heads of a group; where
/// readers share a head, the largest of theirs. The numbers are constants at run time, the same for all sequences.
struct baklava {
  /// How importance becomes tokens.
  enum class rule : std::uint8_t {
    two_thresholds,  ///< the least important heads give tokens to the most important ones; the others keep the average
    tempered,        ///< in proportion to importance^alpha
    floor            ///< a floor for all, and the rest in proportion to importance
  };

  rule by = rule::two_thresholds;  ///< which of them
  double low = 0.5;                ///< two_thresholds: this part of the heads gives,
  double high = 0.25;              ///< this part receives, in equal parts, and
  double kept = 0.5;               ///< who gives keeps this part of the average
  double alpha = 0.5;              ///< tempered: 1 is proportional, 0 uniform
  double floor = 0.2;              ///< floor: of the average, for every head

  /// Returns errc::bad_argument for options outside their range, what refuse_numbers does for `importance`, and what
  /// refuse_request does. Of equally important heads the first counts as more important; if all are equal, all get the
  /// average. O(n²) at worst, for n heads of all sets.
  result<token_budget> spread(const budget_evidence& e, const budget_request& r) const {
    const bool parts = in_unit(low) && in_unit(high) && in_unit(kept) && low + high <= 1;
    if (!parts || !is_finite(alpha) || alpha < 0)
      return error(errc::bad_argument, "baklava with parts " + std::to_string(low) + ", " + std::to_string(high) +
                                           ", " + std::to_string(kept) + " and alpha " + std::to_string(alpha) +
                                           "; parts are between 0 and 1, low and high together too, and alpha is >= 0");
    if (auto refused = refuse_floor(floor)) return *refused;
    if (auto refused = refuse_request(r)) return *refused;
    if (auto refused = refuse_numbers(e.importance, r.sets * r.kv_heads, "importance")) return *refused;
    if (r.tokens <= r.average) return everything(r);
    token_budget b{.kv_heads = r.kv_heads};
    if (by == rule::floor) {
      b.tokens = floor_and_share(e.importance, r.average, floor, r.least, r.tokens);
      return b;
    }
    std::vector<double> weights(e.importance.size(), 1.0);
    const double largest = *std::max_element(e.importance.begin(), e.importance.end());
    if (by == rule::tempered && largest > 0)
      std::transform(e.importance.begin(), e.importance.end(), weights.begin(),
                     [&](double i) { return std::pow(i / largest, alpha); });
    const auto mean = static_cast<double>(r.average);
    const std::vector<double> shares =
        by == rule::tempered ? in_proportion(weights, mean) : by_thresholds(e.importance, mean);
    b.tokens = within_limits(shares, weights, r.least, r.tokens, r.sets * r.kv_heads * r.average);
    return b;
  }

 private:
  static bool in_unit(const double& x) noexcept { return is_finite(x) && x >= 0 && x <= 1; }

  /// Precondition: some weight is 1.
  static std::vector<double> in_proportion(std::span<const double> weights, double average) {
    const auto n = static_cast<double>(weights.size());
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);  // at least 1: that of the largest
    std::vector<double> shares;
    for (const double w : weights) shares.push_back(n * average * w / sum);
    return shares;
  }

  std::vector<double> by_thresholds(std::span<const double> importance, double average) const {
    const std::size_t n = importance.size();
    std::vector<double> shares(n, average);
    const auto part = [&](double of) {
      return static_cast<std::size_t>(std::floor(of * static_cast<double>(n) + 0.5));
    };
    const std::size_t receive = part(high), give = std::min(part(low), n - std::min(n, part(high)));
    const auto [least, most] = std::minmax_element(importance.begin(), importance.end());
    if (receive == 0 || give == 0 || !(*least < *most)) return shares;
    std::vector<std::size_t> order(n);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return importance[a] > importance[b]; });
    for (std::size_t i = n - give; i < n; ++i) shares[order[i]] = kept * average;
    const double gift = static_cast<double>(give) * (1 - kept) * average / static_cast<double>(receive);
    for (std::size_t i = 0; i < receive; ++i) shares[order[i]] = average + gift;
    return shares;
  }
};
static_assert(BudgetPolicy<baklava>);

}  // namespace kvsharer::inline v0::budget
