// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/paged_index.hpp"
#include "kvsharer/layout/reordered_index.hpp"
#include "kvsharer/layout/sink_ring.hpp"

/// One layer's views of many sequences, for attention on the device (cuda::BatchView), made from the view of one
/// sequence.
namespace kvsharer::inline v0::adapt {

/// Sequences one after the other: that of place p begins p * distance elements after `first`. For a single sequence, at
/// place 0, the distance may be any number.
template <class E, IndexLayout Index>
struct side_by_side {
  layer_view<E, Index> first{};  ///< the view of place 0
  index_t distance = 0;          ///< elements from sequence to sequence

  KVSHARER_HD constexpr auto sequence(index_t place) const noexcept {
    return layer_view{first.data + place * distance, first.layout};
  }
};
template <class E, class Index>
side_by_side(layer_view<E, Index>, index_t) -> side_by_side<E, Index>;

/// Sequences in the pages of one pool: `first` has the block table of place 0. The tables of the other places follow it
/// in the same memory, `blocks` entries each.
template <class E>
struct table_by_table {
  layer_view<E, layout::paged_index> first{};  ///< the view of place 0, with its block table
  index_t blocks = 0;                          ///< entries of a block table

  KVSHARER_HD constexpr auto sequence(index_t place) const noexcept {
    auto view = first;
    view.layout.pages += place * blocks;
    return view;
  }
};
template <class E>
table_by_table(layer_view<E, layout::paged_index>, index_t) -> table_by_table<E>;

/// Rings one after the other, like `side_by_side`. The number of tokens that each has seen is in the memory of the
/// rings, so that a captured graph follows it. The lengths of the batch must be `layout::sink_ring::length()` of the
/// same numbers.
template <class E, IndexLayout Index>
struct ring_by_ring {
  layer_view<E, layout::reordered_index<layout::sink_ring, Index>> first{};  ///< the view of place 0
  index_t distance = 0;                                                      ///< elements from ring to ring
  const std::int32_t* seen = nullptr;  ///< [place]: tokens that each ring was given so far

  KVSHARER_HD constexpr auto sequence(index_t place) const noexcept {
    auto view = first;
    view.data += place * distance;
    view.layout.order.seen = seen[place];
    return view;
  }
};
template <class E, class Index>
ring_by_ring(layer_view<E, layout::reordered_index<layout::sink_ring, Index>>, index_t, const std::int32_t*)
    -> ring_by_ring<E, Index>;

}  // namespace kvsharer::inline v0::adapt
