// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "kvsharer/adapt/planes.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/page_table.hpp"
#include "kvsharer/layout/reordered_index.hpp"
#include "kvsharer/layout/tiled_index.hpp"

/// Adapters for memory in which the numbers of a row are not neighbours. Their views have no rows; the CPU backend, and
/// distances and averages on the device, read them number by number. Attention on the device does not compile for them
/// (E212).
namespace kvsharer::inline v0::adapt {
namespace detail {

/// [kv_head][channel / tile][token][channel % tile], of `tokens` tokens.
inline layout::tiled_index tiles(cache_shape s, index_t tile, index_t tokens) {
  if (tile < 1 || s.head_dim % tile != 0)
    throw error(errc::bad_argument, "a head_dim of " + std::to_string(s.head_dim) + " is not cut into tiles of " +
                                        std::to_string(tile) + " channels; the tile must divide it");
  return {.tile = tile, .block = tokens * tile, .head = tokens * s.head_dim, .token = tile};
}

}  // namespace detail

/// [kv_head * head_dim][token] of each layer, as engines keep values; `capacity` tokens.
template <class Layers>
auto transposed(Layers layers, cache_shape s) {
  return planes{layers, detail::tiles(s, 1, s.capacity)};
}

/// [kv_head][head_dim / tile][token][tile] of each layer, as engines keep keys; `capacity` tokens. Throws
/// errc::bad_argument where the tile does not divide head_dim.
template <class Layers>
auto tiled(Layers layers, cache_shape s, index_t tile = 16) {
  return planes{layers, detail::tiles(s, tile, s.capacity)};
}

/// [page][kv_head][head_dim / tile][token][tile] of each layer; with a tile of 1, [page][kv_head][channel][token].
/// `table.page` as in adapt/pages.hpp. Throws as `tiled` does.
template <class Layers>
auto tiled_pages(Layers layers, cache_shape s, layout::page_table table, index_t tile) {
  if (table.page == 0) table.page = table.page_tokens * s.kv_heads * s.head_dim;
  return planes{layers, layout::reordered_index{table, detail::tiles(s, tile, table.page_tokens)}};
}

}  // namespace kvsharer::inline v0::adapt
