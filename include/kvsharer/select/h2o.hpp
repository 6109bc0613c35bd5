// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/select/best_tokens.hpp"
#include "kvsharer/select/kept_anyway.hpp"
#include "kvsharer/select/kept_tokens.hpp"

namespace kvsharer::inline v0::select {

/// H2O (arXiv 2306.14048): every token sums the attention that it received, and beside the newest tokens those with the
/// largest sums are kept: of the prompt, and then at every decoded token. The choice looks at past queries alone.
///
/// Sums are those of all queries of the group, in float32: they belong to the cache's tokens and move with them. Half
/// of the budget is recent, half is heavy.
struct h2o {
  kept_anyway also = {};  ///< beside the recent half; part of the budget

  /// Newest tokens of a budget that are kept: the larger half.
  static constexpr index_t recent_of(index_t count) noexcept { return count - count / 2; }

  /// The slots of a prompt that each KV head keeps: `sums` [kv_heads][tokens] of the attention of all rows and of the
  /// group's query heads, and `counts` [kv_heads]. All, if there are not more. Throws what best_tokens does.
  kept_tokens kept(std::span<const float> sums, std::span<const index_t> counts,
                   std::span<const index_t> positions = no_holes) const {
    return for_each_head(sums, counts, [&](index_t, std::span<const float> of_head, index_t count) {
      return best_tokens(of_head, count, with_recent(recent_of(count)), positions);
    });
  }

  /// The slot that a KV head drops after a step, if it has more than `count` tokens: that with the smallest sum among
  /// those that need not be kept; of equal ones the newest. `sums` [tokens] include the step's own row, and the token
  /// that asked it. A new token is dropped at most, so call it until it returns nothing after a prompt that was longer.
  /// Throws errc::bad_argument if all are kept anyway, errc::not_finite for NaN. O(tokens).
  std::optional<index_t> dropped(std::span<const float> sums, index_t count,
                                 std::span<const index_t> positions = no_holes) const {
    return dropped(sums, count, recent_of(count), positions);
  }

  /// The same with `recent` of the tokens recent, instead of half.
  std::optional<index_t> dropped(std::span<const float> sums, index_t count, index_t recent,
                                 std::span<const index_t> positions = no_holes) const {
    const auto slots = static_cast<index_t>(sums.size());
    detail::check_positions(positions, slots);
    if (slots <= count) return std::nullopt;
    const kept_anyway rule = with_recent(recent);
    std::optional<index_t> least;
    for (index_t s = 0; s < slots; ++s) {
      const float& sum = sums[static_cast<std::size_t>(s)];
      if (is_nan(sum)) throw error(errc::not_finite, "the sum of the token in slot " + std::to_string(s) + " is NaN");
      if (rule(s, detail::position_of(positions, s), slots)) continue;
      if (!least || sum <= sums[static_cast<std::size_t>(*least)]) least = s;
    }
    if (!least)
      throw error(errc::bad_argument, "all of " + std::to_string(slots) +
                                          " tokens are kept anyway, and a budget allows " + std::to_string(count) +
                                          "; give it more");
    return least;
  }

 private:
  kept_anyway with_recent(index_t recent) const noexcept {
    kept_anyway rule = also;
    rule.recent = std::max(rule.recent, recent);
    return rule;
  }
};

/// Adds a step's attention to a KV head's sums: `row` [heads of the group][tokens]. The token that asks stands last,
/// with the sum 0 before. Throws errc::bad_shape for another number. O(row).
inline void add_attention(std::span<float> sums, std::span<const float> row) {
  if (sums.empty() || row.size() % sums.size() != 0)
    throw error(errc::bad_shape, std::to_string(row.size()) + " weights for the sums of " +
                                     std::to_string(sums.size()) + " tokens; give rows of so many");
  for (std::size_t i = 0; i < row.size(); ++i) sums[i % sums.size()] += row[i];
}

}  // namespace kvsharer::inline v0::select
