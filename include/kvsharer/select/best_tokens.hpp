// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/select/kept_anyway.hpp"

namespace kvsharer::inline v0::select {

/// The slots of the `count` largest scores, ascending; all slots, if there are not more. Of equal scores the lower slot
/// wins, which smoothed scores have many of. A score of infinity is larger than all numbers. Throws errc::bad_argument
/// for a negative count and errc::not_finite for a score that is NaN. O(n), on average, and O(count log count).
inline std::vector<index_t> best_tokens(std::span<const float> scores, index_t count) {
  if (count < 0) throw error(errc::bad_argument, "the best " + std::to_string(count) + " tokens cannot be chosen");
  for (std::size_t i = 0; i < scores.size(); ++i)
    if (is_nan(scores[i]))
      throw error(errc::not_finite, "the score of the token in slot " + std::to_string(i) + " is NaN");
  std::vector<index_t> slots(scores.size());
  std::iota(slots.begin(), slots.end(), index_t{0});
  if (count >= static_cast<index_t>(slots.size())) return slots;
  std::nth_element(slots.begin(), slots.begin() + count, slots.end(), [&](index_t a, index_t b) {
    const float x = scores[static_cast<std::size_t>(a)], y = scores[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  });
  slots.resize(static_cast<std::size_t>(count));
  std::sort(slots.begin(), slots.end());
  return slots;
}

/// The slots that are kept anyway, and of the others those with the best scores, so that they are `count` together;
/// ascending. All slots, if there are not more. The scores of what is kept anyway do not matter. Throws
/// errc::bad_argument if more than `count` are kept anyway, and what best_tokens and slots_kept_anyway do.
inline std::vector<index_t> best_tokens(std::span<const float> scores, index_t count, const kept_anyway& rule,
                                        std::span<const index_t> positions = no_holes) {
  const auto slots = static_cast<index_t>(scores.size());
  std::vector<index_t> kept = slots_kept_anyway(rule, slots, positions);
  const auto certain = static_cast<index_t>(kept.size());
  if (count >= slots) return slots_kept_anyway({.recent = slots}, slots);
  if (certain > count)
    throw error(errc::bad_argument, std::to_string(certain) + " tokens are kept anyway, of " + std::to_string(count) +
                                        " that a budget allows; give it more");
  std::vector<float> open;
  std::vector<index_t> slot_of;
  for (index_t s = 0, next = 0; s < slots; ++s) {
    if (next < certain && kept[static_cast<std::size_t>(next)] == s) {
      ++next;
    } else {
      open.push_back(scores[static_cast<std::size_t>(s)]);
      slot_of.push_back(s);
    }
  }
  for (const index_t i : best_tokens(open, count - certain)) kept.push_back(slot_of[static_cast<std::size_t>(i)]);
  std::inplace_merge(kept.begin(), kept.begin() + certain, kept.end());
  return kept;
}

}  // namespace kvsharer::inline v0::select
