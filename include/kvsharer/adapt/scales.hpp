// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/scaled_view.hpp"

namespace kvsharer::inline v0::adapt {

/// The scales of stored codes: a number is its code times both. Either may be null, which means 1.
struct scales {
  const float* tensor = nullptr;  ///< [layer], in host memory, asked when a view is made
  const float* heads = nullptr;   ///< [layer][kv_head], in the memory of the codes
};

/// Planes of codes, multiplied by their scales when they are read. See scaled_view.
template <class Planes>
struct scaled_planes {
  Planes codes;          ///< planes of what is stored
  scales by;             ///< what it is multiplied by
  index_t kv_heads = 0;  ///< from one layer's head scales to the next one's

  /// The view of layer l.
  constexpr auto operator()(layer_id l) const noexcept {
    return scaled_view{codes(l), by.tensor != nullptr ? by.tensor[l.value] : 1.0f,
                       by.heads != nullptr ? by.heads + l.value * kv_heads : nullptr};
  }
};

/// `codes` with their scales.
template <class Planes>
constexpr scaled_planes<Planes> scaled(Planes codes, cache_shape s, scales by) {
  return {codes, by, s.kv_heads};
}

}  // namespace kvsharer::inline v0::adapt
