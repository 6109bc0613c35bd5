// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/adapt/planes.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/page_table.hpp"
#include "kvsharer/layout/paged_index.hpp"

/// Adapters for pools of pages with a block table per sequence. `table.page` is the distance from page to page in
/// elements; 0 means pages of one plane without gaps. Keys and values may have separate pools with different distances.
namespace kvsharer::inline v0::adapt {
namespace detail {

constexpr index_t plane_of_page(layout::page_table table, cache_shape s) {
  return table.page_tokens * s.kv_heads * s.head_dim;
}

template <class Layers>
constexpr auto pages(Layers layers, layout::page_table table, index_t page, index_t head, index_t token, index_t base) {
  return planes{layers, layout::paged_index{.pages = table.pages,
                                            .page_tokens = table.page_tokens,
                                            .page = table.page != 0 ? table.page : page,
                                            .head = head,
                                            .token = token,
                                            .base = base}};
}

}  // namespace detail

/// [page][token][kv_head][channel] of each layer.
template <class Layers>
constexpr auto token_pages(Layers layers, cache_shape s, layout::page_table table) {
  return detail::pages(layers, table, detail::plane_of_page(table, s), s.head_dim, s.kv_heads * s.head_dim, 0);
}

/// [page][kv_head][token][channel] of each layer.
template <class Layers>
constexpr auto head_pages(Layers layers, cache_shape s, layout::page_table table) {
  return detail::pages(layers, table, detail::plane_of_page(table, s), table.page_tokens * s.head_dim, s.head_dim, 0);
}

/// [page][keys, values][token][kv_head][channel] of each layer: a page's keys and values together.
template <class Layers>
constexpr auto joint_token_pages(Layers layers, cache_shape s, layout::page_table table, part which) {
  const index_t plane = detail::plane_of_page(table, s);
  return detail::pages(layers, table, 2 * plane, s.head_dim, s.kv_heads * s.head_dim,
                       static_cast<index_t>(which) * plane);
}

/// [page][keys, values][kv_head][token][channel] of each layer.
template <class Layers>
constexpr auto joint_head_pages(Layers layers, cache_shape s, layout::page_table table, part which) {
  const index_t plane = detail::plane_of_page(table, s);
  return detail::pages(layers, table, 2 * plane, table.page_tokens * s.head_dim, s.head_dim,
                       static_cast<index_t>(which) * plane);
}

}  // namespace kvsharer::inline v0::adapt
