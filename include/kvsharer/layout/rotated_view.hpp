// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// Which two channels of a row RoPE rotates together.
enum class rotary_pairs : unsigned char {
  halves,      ///< c and c + head_dim / 2
  neighbours,  ///< 2 c and 2 c + 1
};

/// A view of keys stored before rotation, which rotates them when it reads: the t-th token by the angles of position t,
/// which in a ring is its age. It has no rows, since the stored numbers are not the rotated ones.
template <LayerView View>
struct rotated_view {
  using value_type = typename View::value_type;

  View view{};                                ///< what is stored
  const float* angles = nullptr;              ///< [position][cosines, sines][half], where the view's numbers are
  index_t half = 0;                           ///< of head_dim
  rotary_pairs pairs = rotary_pairs::halves;  ///< which channels turn together

  KVSHARER_HD constexpr float at(index_t head, index_t token, index_t channel) const noexcept {
    const bool halves = pairs == rotary_pairs::halves;
    const index_t pair = halves ? channel % half : channel / 2, distance = halves ? half : 1;
    const bool second = halves ? channel >= half : channel % 2 == 1;
    const float* const turn = angles + token * 2 * half + pair;
    const float own = view.at(head, token, channel),
                other = view.at(head, token, second ? channel - distance : channel + distance);
    return own * turn[0] + (second ? other : -other) * turn[half];
  }
};
template <class View>
rotated_view(View, const float*, index_t, rotary_pairs) -> rotated_view<View>;

}  // namespace kvsharer::inline v0
