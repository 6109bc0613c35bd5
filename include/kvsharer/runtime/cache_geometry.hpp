// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// The sizes that a cache's storage follows from, checked once.
struct cache_geometry {
  index_t page_tokens = 0;     ///< tokens of a page
  index_t blocks = 0;          ///< pages of a sequence at capacity
  index_t pages = 0;           ///< pages in the pool, each of which exists in every plane
  index_t page_elements = 0;   ///< kv_heads * page_tokens * head_dim
  index_t plane_elements = 0;  ///< pages * page_elements: one owner's keys
  index_t key_elements = 0;    ///< plane_elements of every owner of keys
  index_t value_elements = 0;  ///< and of every owner of values
  index_t table_elements = 0;  ///< max_sequences * blocks
};

/// The product of positive factors. Throws errc::bad_shape when it passes 2^63 - 1.
inline index_t checked_product(std::initializer_list<index_t> factors, const char* what) {
  index_t product = 1;
  for (const index_t f : factors) {
    if (product > std::numeric_limits<index_t>::max() / f)
      throw error(errc::bad_shape, std::string("the size of ") + what + " does not fit 64 bits; ask for less");
    product *= f;
  }
  return product;
}

/// Throws errc::bad_shape for sizes that are not positive, do not agree or overflow, errc::bad_argument for options.
/// `pages` 0 asks for enough for every sequence at capacity.
inline cache_geometry make_geometry(const share_plan& plan, cache_shape shape, index_t page_tokens,
                                    index_t max_sequences, index_t pages, std::size_t element_bytes) {
  if (shape.layers <= 0 || shape.kv_heads <= 0 || shape.head_dim <= 0 || shape.capacity <= 0)
    throw error(errc::bad_shape, "a cache needs at least one layer, KV head, channel and token, not " +
                                     std::to_string(shape.layers) + ", " + std::to_string(shape.kv_heads) + ", " +
                                     std::to_string(shape.head_dim) + " and " + std::to_string(shape.capacity));
  if (plan.layers() != shape.layers)
    throw error(errc::bad_shape, "the layer map is of " + std::to_string(plan.layers()) + " layers, the cache of " +
                                     std::to_string(shape.layers));
  if (page_tokens <= 0)
    throw error(errc::bad_argument, "a page holds at least one token, not " + std::to_string(page_tokens));
  constexpr index_t int_max = std::numeric_limits<std::int32_t>::max();
  if (max_sequences <= 0 || max_sequences > int_max)
    throw error(errc::bad_argument, "max_sequences must be in [1, 2^31), not " + std::to_string(max_sequences));
  if (pages < 0) throw error(errc::bad_argument, "pages must not be negative, not " + std::to_string(pages));

  cache_geometry g;
  g.page_tokens = page_tokens;
  g.blocks = (shape.capacity - 1) / page_tokens + 1;
  g.table_elements = checked_product({max_sequences, g.blocks}, "the block tables");
  checked_product({g.table_elements, static_cast<index_t>(sizeof(std::int32_t))}, "the block tables");
  g.pages = pages > 0 ? pages : g.table_elements;
  if (g.pages > int_max)
    throw error(errc::bad_shape, std::to_string(g.pages) + " pages; block tables count them with 31 bits");
  g.page_elements = checked_product({shape.kv_heads, page_tokens, shape.head_dim}, "a page");
  g.plane_elements = checked_product({g.pages, g.page_elements}, "a layer's keys");
  g.key_elements = checked_product({plan.keys().owner_count(), g.plane_elements}, "all layers' keys");
  g.value_elements = checked_product({plan.values().owner_count(), g.plane_elements}, "all layers' values");
  checked_product({plan.planes(), g.plane_elements, static_cast<index_t>(element_bytes)},
                  "all layers' keys and values");
  return g;
}

}  // namespace kvsharer::inline v0
