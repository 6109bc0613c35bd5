// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>

#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// A sequence of tokens in a cache, which gives out the id. The id of a dropped sequence stays invalid even when
/// another sequence has taken its place (until the int wraps around).
struct sequence_id {
  int value = -1;  ///< -1 names no sequence
  friend constexpr auto operator<=>(sequence_id, sequence_id) = default;
  friend constexpr bool operator==(sequence_id, sequence_id) = default;
};

/// One entry of a ragged batch: by how many tokens a sequence grows.
struct sequence_growth {
  sequence_id id;      ///< which sequence grows
  index_t tokens = 0;  ///< by how many, at least 0
};

}  // namespace kvsharer::inline v0
