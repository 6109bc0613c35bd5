// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// A view of the KV heads from `first` on: the part of one device when heads are divided between devices. It has rows
/// if `view` has.
template <LayerView View>
struct head_slice_view {
  using value_type = typename View::value_type;

  View view{};        ///< of all heads
  index_t first = 0;  ///< the KV head of `view` that is head 0 here

  KVSHARER_HD constexpr float at(index_t head, index_t token, index_t channel) const noexcept {
    return view.at(first + head, token, channel);
  }
  KVSHARER_HD constexpr const value_type* row(index_t head,
                                              index_t token) const noexcept requires RowContiguousView<View> {
    return view.row(first + head, token);
  }
  KVSHARER_HD constexpr index_t token_stride() const noexcept requires TokenRunView<View> {
    return view.token_stride();
  }
  KVSHARER_HD constexpr index_t run(index_t token, index_t tokens) const noexcept requires TokenRunView<View> {
    return view.run(token, tokens);
  }
  /// The row, or null if the view has no such row.
  KVSHARER_HD constexpr auto find(index_t head, index_t token) const noexcept requires requires(const View& v) {
    v.find(head, token);
  }
  { return view.find(first + head, token); }
};
template <class View>
head_slice_view(View, index_t) -> head_slice_view<View>;

}  // namespace kvsharer::inline v0
