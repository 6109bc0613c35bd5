// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::select {

/// Tokens that are kept whatever their score: the first tokens of the text (attention sinks), the newest ones, and a
/// part of the text that is protected, such as a system prompt. They may overlap.
struct kept_anyway {
  index_t sinks = 0;            ///< first positions of the text
  index_t recent = 0;           ///< newest tokens of the list
  index_t protected_begin = 0;  ///< first position of the protected part
  index_t protected_end = 0;    ///< position after it; equal to the first: no such part

  /// Is the token kept that stands in `slot` of a list of `slots` tokens, at `position` in the text?
  constexpr bool operator()(index_t slot, index_t position, index_t slots) const noexcept {
    return position < sinks || slot >= slots - recent || (position >= protected_begin && position < protected_end);
  }
};

/// The positions of a list that has lost no token.
inline constexpr std::span<const index_t> no_holes = {};

namespace detail {

inline index_t position_of(std::span<const index_t> positions, index_t slot) noexcept {
  return positions.empty() ? slot : positions[static_cast<std::size_t>(slot)];
}

/// Throws errc::bad_shape for positions of another number of tokens.
inline void check_positions(std::span<const index_t> positions, index_t slots) {
  if (!positions.empty() && static_cast<index_t>(positions.size()) != slots)
    throw error(errc::bad_shape, std::to_string(positions.size()) + " positions for a list of " +
                                     std::to_string(slots) +
                                     " tokens; give one for each, or none where there are no "
                                     "holes");
}

}  // namespace detail

/// The slots of a list that are kept anyway, ascending. `positions` [slots] of the list's tokens, ascending; `no_holes`
/// if slot and position are the same. Throws errc::bad_shape for another number of positions. O(slots).
inline std::vector<index_t> slots_kept_anyway(const kept_anyway& rule, index_t slots,
                                              std::span<const index_t> positions = no_holes) {
  detail::check_positions(positions, slots);
  std::vector<index_t> kept;
  for (index_t s = 0; s < slots; ++s)
    if (rule(s, detail::position_of(positions, s), slots)) kept.push_back(s);
  return kept;
}

}  // namespace kvsharer::inline v0::select
