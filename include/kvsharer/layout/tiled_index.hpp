// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::layout {

/// Rows cut into tiles of `tile` neighbouring channels, `block` elements from tile to tile: [head][channel / tile]
/// [token][channel % tile] and the like. With a tile of one channel it is a transposed plane, [head][channel][token].
/// All distances are in elements.
struct tiled_index {
  index_t tile = 1;   ///< channels of a tile
  index_t block = 0;  ///< from tile to tile
  index_t head = 0;   ///< from head to head
  index_t token = 0;  ///< from token to token, within a tile
  index_t base = 0;   ///< before the first number

  static constexpr bool rows_contiguous = false;

  KVSHARER_HD constexpr index_t offset(index_t h, index_t t, index_t channel) const noexcept {
    return base + h * head + channel / tile * block + t * token + channel % tile;
  }
};
static_assert(IndexLayout<tiled_index>);

}  // namespace kvsharer::inline v0::layout
