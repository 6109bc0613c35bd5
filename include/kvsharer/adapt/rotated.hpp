// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/rotated_view.hpp"

namespace kvsharer::inline v0::adapt {

/// Planes of keys stored before rotation, rotated when they are read. See rotated_view.
template <class Planes>
struct rotated_planes {
  Planes stored;                              ///< planes of keys from before rotation
  const float* angles = nullptr;              ///< [position][cosines, sines][half]
  index_t half = 0;                           ///< of head_dim
  rotary_pairs pairs = rotary_pairs::halves;  ///< which channels turn together

  /// The view of layer l.
  constexpr auto operator()(layer_id l) const noexcept { return rotated_view{stored(l), angles, half, pairs}; }
};

/// `stored`, rotated by `angles`: [position][cosines, sines][head_dim / 2], in the memory of the keys, with at least as
/// many positions as tokens.
template <class Planes>
constexpr rotated_planes<Planes> rotated(Planes stored, cache_shape s, const float* angles, rotary_pairs pairs) {
  return {stored, angles, s.head_dim / 2, pairs};
}

}  // namespace kvsharer::inline v0::adapt
