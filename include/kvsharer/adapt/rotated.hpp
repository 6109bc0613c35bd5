// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/core/rope.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/rotated_view.hpp"

namespace kvsharer::inline v0::adapt {

/// Planes of keys stored before rotation, rotated when they are read. See rotated_view.
template <class Planes>
struct rotated_planes {
  Planes stored;                                    ///< planes of keys from before rotation
  const float* angles = nullptr;                    ///< [position][cosines, sines][half]
  index_t half = 0;                                 ///< of head_dim
  rope_pairing pairing = rope_pairing::half_split;  ///< which channels turn together

  /// The view of layer l.
  constexpr auto operator()(layer_id l) const noexcept { return rotated_view{stored(l), angles, half, pairing}; }
};

/// `stored` turned by `angles`, [position][cosines, sines][head_dim / 2] in the memory of the keys, of as many
/// positions as there are tokens: rope_table::numbers().
template <class Planes>
constexpr rotated_planes<Planes> rotated(Planes stored, cache_shape s, const float* angles, rope_pairing pairing) {
  return {stored, angles, s.head_dim / 2, pairing};
}

}  // namespace kvsharer::inline v0::adapt
