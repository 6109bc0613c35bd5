// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <type_traits>

#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda {

/// One sequence's rows in a pool of known size: a layer_view that knows when a block table leads outside. Those who
/// write have a T that is not const.
template <class T, IndexLayout Index>
requires Index::rows_contiguous struct pool_view {
  using value_type = std::remove_const_t<T>;

  T* data = nullptr;     ///< [elements]: where the plane begins
  index_t last_row = 0;  ///< the last offset at which a row may begin
  Index layout{};        ///< the sequence's, with its block table

  KVSHARER_HD float at(index_t head, index_t token, index_t channel) const noexcept {
    return static_cast<float>(data[layout.offset(head, token, channel)]);
  }
  KVSHARER_HD const value_type* row(index_t head, index_t token) const noexcept {
    return data + layout.offset(head, token, 0);
  }

  /// The row, or null where the layout names one outside the pool.
  KVSHARER_HD T* find(index_t head, index_t token) const noexcept {
    const index_t offset = layout.offset(head, token, 0);
    return offset < 0 || offset > last_row ? nullptr : data + offset;
  }
};

/// One plane of a pool (an owner layer's keys, or values) with the block tables of all sequences: the BatchView of
/// caches that are laid out by a CacheLayout. All pointers are to device memory and borrowed.
template <class T, CacheLayout Layout>
struct pool_batch {
  T* plane = nullptr;                    ///< [pages][kv_heads * page_tokens * head_dim]
  index_t elements = 0;                  ///< of the plane
  const std::int32_t* tables = nullptr;  ///< [place][blocks]
  index_t blocks = 0;                    ///< entries of a block table
  cache_shape shape{};                   ///< of the cache
  Layout layout{};                       ///< the order inside a page

  /// Tokens that a block table has entries for.
  KVSHARER_HD index_t capacity() const noexcept { return shape.capacity; }
  KVSHARER_HD auto sequence(index_t place) const noexcept {
    const auto index = layout.index(shape, tables + place * blocks);
    return pool_view<T, std::remove_const_t<decltype(index)>>{plane, elements - shape.head_dim, index};
  }
};

}  // namespace kvsharer::inline v0::cuda
