// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "kvsharer/adapt/batches.hpp"
#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/divisor.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/page_strides.hpp"
#include "kvsharer/layout/strided_index.hpp"

namespace kvsharer::inline v0::cuda {

/// One sequence's rows in a pool of known size: a layer_view that knows when a block table leads outside. Those who
/// write have a T that is not const.
template <class T, IndexLayout Index = layout::page_index>
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

/// One plane of a pool (an owner layer's keys, or values) with the block tables of all sequences: the BatchView of all
/// memory whose order strides can say. Attention has one kernel for all of it, whatever the layout and the page size.
/// All pointers are to device memory and borrowed.
template <class T>
struct pool_batch {
  T* plane = nullptr;                    ///< where page 0 begins
  index_t last_row = 0;                  ///< the last offset at which a row may begin
  index_t distance = 0;                  ///< elements from sequence to sequence, where they have pages 0 of their own
  const std::int32_t* tables = nullptr;  ///< block tables: numbers of pages; null: all is in page 0
  index_t blocks = 0;                    ///< entries from sequence to sequence in them
  index_t head_blocks = 0;               ///< entries from KV head to KV head; 0 where heads have one table
  list_counts tokens = {};               ///< of lists; those of the ragged_batch where null
  cache_shape shape{};                   ///< of the cache
  divisor page_tokens{};                 ///< tokens of a page
  index_t page = 0;                      ///< elements from page to page
  index_t head = 0;                      ///< elements from head to head in a page
  index_t token = 0;                     ///< elements from token to token in a page

  /// Tokens that a block table has entries for.
  KVSHARER_HD index_t capacity() const noexcept { return shape.capacity; }
  /// Of the lists that kernels read.
  KVSHARER_HD list_counts counts() const noexcept { return tokens; }
  KVSHARER_HD pool_view<T> sequence(index_t place) const noexcept {
    return {plane + place * distance,
            last_row,
            {.pages = tables != nullptr ? tables + place * blocks : nullptr,
             .head_blocks = head_blocks,
             .page_tokens = page_tokens,
             .page = page,
             .head = head,
             .token = token}};
  }
};

/// The batch of a plane of `elements` numbers whose pages have these strides.
template <class T>
pool_batch<T> pool_of(T* plane, index_t elements, const std::int32_t* tables, index_t blocks, cache_shape shape,
                      const layout::page_strides& strides) noexcept {
  return {.plane = plane,
          .last_row = elements - shape.head_dim,
          .tables = tables,
          .blocks = blocks,
          .shape = shape,
          .page_tokens = divisor(strides.page_tokens),
          .page = strides.page,
          .head = strides.head,
          .token = strides.token};
}

/// The batch of a plane that a layout orders. Throws errc::bad_argument for a layout that strides cannot say.
template <class T, layout::StridedLayout Layout>
pool_batch<T> pool_of(T* plane, index_t elements, const std::int32_t* tables, index_t blocks, cache_shape shape,
                      const Layout& order) {
  return pool_of(plane, elements, tables, blocks, shape, layout::strides_of(order, shape));
}

namespace detail {
/// The capacity of memory whose size is the engine's to know, and a page that holds as many tokens.
inline constexpr index_t any_tokens = std::numeric_limits<std::int32_t>::max();
}  // namespace detail

/// Foreign sequences side by side, as a pool in which no row is refused.
template <class E>
pool_batch<const E> as_pool(const adapt::side_by_side<E, layout::strided_index>& batch) noexcept {
  const layout::strided_index& index = batch.first.layout;
  return {.plane = batch.first.data + index.base,
          .last_row = std::numeric_limits<index_t>::max(),
          .distance = batch.distance,
          .shape = {.capacity = detail::any_tokens},
          .page_tokens = divisor(detail::any_tokens),
          .head = index.head,
          .token = index.token};
}
/// Foreign pages with block tables, likewise.
template <class E>
pool_batch<const E> as_pool(const adapt::table_by_table<E>& batch) noexcept {
  const layout::paged_index& index = batch.first.layout;
  return {.plane = batch.first.data + index.base,
          .last_row = std::numeric_limits<index_t>::max(),
          .tables = index.pages,
          .blocks = batch.blocks,
          .shape = {.capacity = detail::any_tokens},
          .page_tokens = divisor(index.page_tokens),
          .page = index.page,
          .head = index.head,
          .token = index.token};
}
/// A pool is one already.
template <class T>
const pool_batch<T>& as_pool(const pool_batch<T>& batch) noexcept {
  return batch;
}

}  // namespace kvsharer::inline v0::cuda
