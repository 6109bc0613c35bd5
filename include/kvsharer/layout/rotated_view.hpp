// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/rope.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// Keys that are stored before rotation, turned as they are read: the t-th token by the angles of position t, which in
/// a ring is its age. It has no rows, since what is stored is not what is meant.
template <LayerView View>
struct rotated_view {
  using value_type = typename View::value_type;

  View view{};                                      ///< what is stored
  const float* angles = nullptr;                    ///< [position][cosines, sines][half], where the view's numbers are
  index_t half = 0;                                 ///< of head_dim
  rope_pairing pairing = rope_pairing::half_split;  ///< which channels turn together

  KVSHARER_HD constexpr float at(index_t head, index_t token, index_t channel) const noexcept {
    const channel_role role = role_of(pairing, 2 * half, channel);
    const float* const turn = angles + token * 2 * half + role.frequency;
    const float own = view.at(head, token, channel), other = view.at(head, token, role.partner);
    return own * turn[0] + (role.imaginary ? other : -other) * turn[half];
  }
};
template <class View>
rotated_view(View, const float*, index_t, rope_pairing) -> rotated_view<View>;

}  // namespace kvsharer::inline v0
