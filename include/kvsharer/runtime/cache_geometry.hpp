// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/runtime/page_format.hpp"
#include "kvsharer/runtime/token_lists.hpp"

namespace kvsharer::inline v0 {

/// The sizes from which a cache's storage is laid out, checked once. Sizes of memory are in bytes.
struct cache_geometry {
  index_t page_tokens = 0;      ///< tokens per page
  index_t blocks = 0;           ///< pages of a list at capacity
  index_t pages = 0;            ///< pages in the pool
  page_format key_page = {};    ///< of one plane of keys
  page_format value_page = {};  ///< of one plane of values
  index_t page_bytes = 0;       ///< bytes that one page number stands for
  index_t pool_bytes = 0;       ///< bytes of all pages
  index_t table_elements = 0;   ///< max_sequences * block tables of a sequence * blocks

  // If a page number stands for all planes, the planes follow one another, each with all its pages; otherwise all
  // planes take pages of one size from one pool.

  bool plane_by_plane = true;  ///< does a page number stand for all planes?
  index_t key_planes = 0;      ///< owners of keys
  index_t value_planes = 0;    ///< owners of values

  /// Bytes from page to page of a plane of keys.
  index_t key_step() const noexcept { return plane_by_plane ? key_page.bytes() : page_bytes; }
  /// Bytes from page to page of a plane of values.
  index_t value_step() const noexcept { return plane_by_plane ? value_page.bytes() : page_bytes; }
  /// Where page 0 of a plane of keys begins; 0 if all planes take pages from one pool.
  index_t key_plane_at(index_t slot) const noexcept { return plane_by_plane ? slot * pages * key_page.bytes() : 0; }
  /// Where page 0 of a plane of values begins.
  index_t value_plane_at(index_t slot) const noexcept {
    return plane_by_plane ? pages * (key_planes * key_page.bytes() + slot * value_page.bytes()) : 0;
  }
  /// Bytes of the memory that holds the pages of a plane of keys.
  index_t key_plane_bytes() const noexcept { return plane_by_plane ? pages * key_page.bytes() : pool_bytes; }
  /// Bytes of the memory that holds the pages of a plane of values.
  index_t value_plane_bytes() const noexcept { return plane_by_plane ? pages * value_page.bytes() : pool_bytes; }
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

/// Throws errc::bad_shape for sizes that are not positive or do not agree with the plan.
inline void check_sizes(const share_plan& plan, cache_shape shape, index_t page_tokens) {
  if (shape.layers <= 0 || shape.kv_heads <= 0 || shape.head_dim <= 0 || shape.capacity <= 0)
    throw error(errc::bad_shape, "a cache needs at least one layer, KV head, channel and token, not " +
                                     std::to_string(shape.layers) + ", " + std::to_string(shape.kv_heads) + ", " +
                                     std::to_string(shape.head_dim) + " and " + std::to_string(shape.capacity));
  if (shape.value_dim < 0)
    throw error(errc::bad_shape, "values of " + std::to_string(shape.value_dim) +
                                     " channels; give their number, or 0 for as many as keys have");
  if (plan.layers() != shape.layers)
    throw error(errc::bad_shape, "the layer map is of " + std::to_string(plan.layers()) + " layers, the cache of " +
                                     std::to_string(shape.layers));
  if (page_tokens <= 0)
    throw error(errc::bad_argument, "a page holds at least one token, not " + std::to_string(page_tokens));
  checked_product({shape.kv_heads, page_tokens, std::max(shape.head_dim, shape.widths().values), 16}, "a page");
}

/// Throws errc::bad_shape for sizes that overflow, errc::bad_argument for options out of range. `pages` = 0 asks for
/// enough pages for every sequence at capacity. Preconditions: check_sizes has passed, and the formats have this shape.
inline cache_geometry make_geometry(const share_plan& plan, cache_shape shape, const token_lists& lists,
                                    const page_format& key_page, const page_format& value_page, index_t max_sequences,
                                    index_t pages) {
  constexpr index_t int_max = std::numeric_limits<std::int32_t>::max();
  if (max_sequences <= 0 || max_sequences > int_max)
    throw error(errc::bad_argument, "max_sequences must be in [1, 2^31), not " + std::to_string(max_sequences));
  if (pages < 0) throw error(errc::bad_argument, "pages must not be negative, not " + std::to_string(pages));

  cache_geometry g;
  g.page_tokens = key_page.tokens;
  g.key_page = key_page;
  g.value_page = value_page;
  g.plane_by_plane = lists.one_page_for_all();
  g.key_planes = plan.keys().owner_count();
  g.value_planes = plan.values().owner_count();
  g.blocks = (shape.capacity - 1) / g.page_tokens + 1;
  g.table_elements = checked_product({max_sequences, lists.tables(), g.blocks}, "the block tables");
  checked_product({g.table_elements, static_cast<index_t>(sizeof(std::int32_t))}, "the block tables");
  g.pages = pages > 0 ? pages : g.table_elements;
  if (g.pages > int_max)
    throw error(errc::bad_shape, std::to_string(g.pages) + " pages; block tables count them with 31 bits");
  if (g.plane_by_plane) {
    checked_product({plan.planes(), std::max(key_page.bytes(), value_page.bytes())}, "a page");
    g.page_bytes = g.key_planes * key_page.bytes() + g.value_planes * value_page.bytes();
  } else {
    g.page_bytes = std::max(key_page.bytes(), value_page.bytes());
  }
  g.pool_bytes = checked_product({g.pages, g.page_bytes}, "all layers' keys and values");
  return g;
}

}  // namespace kvsharer::inline v0
