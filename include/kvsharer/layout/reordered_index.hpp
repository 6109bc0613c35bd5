// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::layout {

/// A token order combined with an index layout: `order` finds a sequence's token in memory, and `index` finds the
/// token's numbers. `reordered_index<page_table, strided_index>` is equivalent to `paged_index`.
template <TokenOrder Order, IndexLayout Index>
struct reordered_index {
  Order order{};  ///< finds the token in memory
  Index index{};  ///< finds the token's numbers

  static constexpr bool rows_contiguous = Index::rows_contiguous;

  KVSHARER_HD constexpr index_t offset(index_t h, index_t t, index_t channel) const noexcept {
    const token_place at = order.place(t);
    return at.base + index.offset(h, at.token, channel);
  }
  KVSHARER_HD constexpr index_t token_stride() const noexcept requires TokenRunLayout<Index> {
    return index.token_stride();
  }
  KVSHARER_HD constexpr index_t run(index_t t, index_t tokens) const noexcept requires TokenRunLayout<Index> {
    return index.run(order.place(t).token, order.run(t, tokens));
  }
};
template <class Order, class Index>
reordered_index(Order, Index) -> reordered_index<Order, Index>;

}  // namespace kvsharer::inline v0::layout
