// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/strided_index.hpp"

namespace kvsharer::inline v0 {

/// A LayerView of numbers in memory: a borrowed pointer, and a layout that computes offsets from it. An adapter returns
/// for example `layer_view{pointer, layout::strided_index{.head = ..., .token = ...}}`.
template <class E, IndexLayout Layout>
struct layer_view {
  using value_type = E;

  const E* data = nullptr;  ///< where the plane begins; not owned
  Layout layout{};          ///< (head, token, channel) -> elements from there

  KVSHARER_HD constexpr float at(index_t head, index_t token, index_t channel) const noexcept {
    return static_cast<float>(data[layout.offset(head, token, channel)]);
  }
  KVSHARER_HD constexpr const E* row(index_t head, index_t token) const noexcept requires Layout::rows_contiguous {
    return data + layout.offset(head, token, 0);
  }
  KVSHARER_HD constexpr index_t token_stride() const noexcept requires TokenRunLayout<Layout> {
    return layout.token_stride();
  }
  KVSHARER_HD constexpr index_t run(index_t token, index_t tokens) const noexcept requires TokenRunLayout<Layout> {
    return layout.run(token, tokens);
  }
};
template <class E, class Layout>
layer_view(const E*, Layout) -> layer_view<E, Layout>;
static_assert(TokenRunView<layer_view<float, layout::strided_index>>);

}  // namespace kvsharer::inline v0
