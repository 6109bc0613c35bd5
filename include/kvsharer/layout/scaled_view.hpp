// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// A view that multiplies numbers by a scale for all, and by one for each KV head if there are such. It has no rows,
/// since the stored numbers are not the scaled ones.
template <LayerView View>
struct scaled_view {
  using value_type = typename View::value_type;

  View view{};                         ///< what is stored
  float scale = 1.0f;                  ///< of all numbers
  const float* head_scales = nullptr;  ///< [kv_head], where the view's numbers are; or null

  KVSHARER_HD constexpr float at(index_t head, index_t token, index_t channel) const noexcept {
    const float of_head = head_scales != nullptr ? scale * head_scales[head] : scale;
    return static_cast<float>(view.at(head, token, channel)) * of_head;
  }
};
template <class View>
scaled_view(View, float, const float*) -> scaled_view<View>;

}  // namespace kvsharer::inline v0
