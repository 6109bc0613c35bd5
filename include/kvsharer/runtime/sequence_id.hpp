// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>

#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// A sequence of tokens that a cache holds. Given out by the cache; an id that was dropped stays refused even when its
/// place is taken by another sequence (until the int wraps around).
struct sequence_id {
  int value = -1;  ///< -1 names no sequence
  friend constexpr auto operator<=>(sequence_id, sequence_id) = default;
  friend constexpr bool operator==(sequence_id, sequence_id) = default;
};

/// One line of a ragged batch: by how many tokens a sequence is to grow.
struct sequence_growth {
  sequence_id id;      ///< which sequence grows
  index_t tokens = 0;  ///< by how many, at least 0
};

}  // namespace kvsharer::inline v0
