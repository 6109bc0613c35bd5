// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include "kvsharer/adapt/batches.hpp"
#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/page_strides.hpp"
#include "kvsharer/layout/strided_index.hpp"

namespace kvsharer::inline v0::cuda {

/// One sequence's rows in a pool of known size: a layer_view that detects block tables that point outside. Code that
/// writes uses a T that is not const.
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

  /// The row, or null if the layout points outside the pool.
  KVSHARER_HD T* find(index_t head, index_t token) const noexcept { return inside(layout.offset(head, token, 0)); }

  KVSHARER_HD index_t token_stride() const noexcept requires TokenRunLayout<Index> { return layout.token_stride(); }
  KVSHARER_HD index_t run(index_t token, index_t tokens) const noexcept requires TokenRunLayout<Index> {
    return layout.run(token, tokens);
  }

  /// The address of the page number of a token.
  KVSHARER_HD const std::int32_t* entry(index_t head, index_t token) const noexcept requires requires(const Index& i) {
    i.entry(head, token);
  }
  { return layout.entry(head, token); }
  /// The row of a token whose page is known, or null where it lies outside the pool.
  KVSHARER_HD T* find_in(std::int32_t page, index_t head, index_t token) const noexcept requires
      requires(const Index& i) {
    i.offset_in(page, head, token, index_t{0});
  }
  { return inside(layout.offset_in(page, head, token, 0)); }

 private:
  KVSHARER_HD T* inside(index_t offset) const noexcept {
    return static_cast<std::size_t>(offset) > static_cast<std::size_t>(last_row) ? nullptr : data + offset;
  }
};

/// One plane of a pool (an owner layer's keys, or values) with the block tables of all sequences: the BatchView of all
/// memory that strides can describe. Attention has one kernel for all of it, whatever the layout and the page size. All
/// pointers are to device memory and borrowed.
template <class T>
struct pool_batch {
  T* plane = nullptr;          ///< where page 0 begins
  index_t last_row = 0;        ///< the last offset at which a row may begin
  index_t distance = 0;        ///< elements from sequence to sequence, if each has a page 0 of its own
  index_t blocks = 0;          ///< entries from sequence to sequence in the block tables
  layout::page_index pages{};  ///< of the sequence at place 0, with its block table
  list_counts tokens{};        ///< lengths of lists; null: those of the ragged_batch
  cache_shape shape{};         ///< of the cache; head_dim is the width of these rows

  /// Tokens for which a block table has entries.
  KVSHARER_HD index_t capacity() const noexcept { return shape.capacity; }
  /// The lengths of the lists that kernels read.
  KVSHARER_HD list_counts counts() const noexcept { return tokens; }
  KVSHARER_HD pool_view<T> sequence(index_t place) const noexcept {
    layout::page_index index = pages;
    index.pages += place * blocks;
    return {plane + place * distance, last_row, index};
  }
};

/// The batch of a plane of `elements` numbers, with consecutive pages that have these strides.
template <class T>
pool_batch<T> pool_of(T* plane, index_t elements, const std::int32_t* tables, index_t blocks, cache_shape shape,
                      const layout::page_strides& strides) noexcept {
  return {.plane = plane,
          .last_row = elements - shape.head_dim,
          .blocks = blocks,
          .pages = layout::index_of(strides, tables, strides.page),
          .shape = shape};
}

/// The batch of a plane in a layout's order. Throws errc::bad_argument for a layout that strides cannot describe.
template <class T, layout::StridedLayout Layout>
pool_batch<T> pool_of(T* plane, index_t elements, const std::int32_t* tables, index_t blocks, cache_shape shape,
                      const Layout& order) {
  return pool_of(plane, elements, tables, blocks, shape, layout::strides_of(order, shape));
}

namespace detail {
/// The capacity of memory whose size only the engine knows, and the size of a page for as many tokens.
inline constexpr index_t any_tokens = std::numeric_limits<std::int32_t>::max();

/// Strides of an engine's memory, which kernels keep with 32 bits. Throws errc::bad_shape for others.
inline layout::page_index foreign_index(const layout::page_strides& s, const std::int32_t* pages) {
  for (const index_t stride : {s.page, s.head, s.token})
    if (stride < 0 || stride > index_t{std::numeric_limits<std::uint32_t>::max()})
      throw error(errc::bad_shape, "a distance of " + std::to_string(stride) +
                                       " elements between pages, heads or tokens; attention on the device takes 0 to "
                                       "2^32 - 1");
  return layout::index_of(s, pages, s.page);
}
}  // namespace detail

/// Foreign sequences side by side, as a pool that refuses no row. `word` is any word of device memory: it takes the
/// place of a block table, and its value does not matter, since all tokens are in one page. Throws errc::bad_shape for
/// distances of more than 32 bits.
template <class E>
pool_batch<const E> as_pool(const adapt::side_by_side<E, layout::strided_index>& batch, const std::int32_t* word) {
  const layout::strided_index& index = batch.first.layout;
  return {.plane = batch.first.data + index.base,
          .last_row = std::numeric_limits<index_t>::max(),
          .distance = batch.distance,
          .pages = detail::foreign_index({.page_tokens = detail::any_tokens, .head = index.head, .token = index.token},
                                         word),
          .shape = {.capacity = detail::any_tokens}};
}
/// Foreign pages with block tables, likewise.
template <class E>
pool_batch<const E> as_pool(const adapt::table_by_table<E>& batch, const std::int32_t*) {
  const layout::paged_index& index = batch.first.layout;
  return {.plane = batch.first.data + index.base,
          .last_row = std::numeric_limits<index_t>::max(),
          .blocks = batch.blocks,
          .pages = detail::foreign_index(
              {.page_tokens = index.page_tokens, .page = index.page, .head = index.head, .token = index.token},
              index.pages),
          .shape = {.capacity = detail::any_tokens}};
}
/// A pool as it is.
template <class T>
const pool_batch<T>& as_pool(const pool_batch<T>& batch, const std::int32_t*) noexcept {
  return batch;
}

}  // namespace kvsharer::inline v0::cuda
