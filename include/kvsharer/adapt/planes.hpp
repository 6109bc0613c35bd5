// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/layer_view.hpp"

/// Ready adapters. They borrow memory and never copy it. Each is a function named after a memory order, and returns the
/// views of all layers' keys or of all layers' values. `adapt::cache` makes a KVCache of two.
namespace kvsharer::inline v0::adapt {

/// Layers in one allocation, `distance` elements from each to the next.
template <class E>
struct stacked {
  const E* data = nullptr;  ///< where layer 0 begins
  index_t distance = 0;     ///< elements from layer to layer

  /// Where layer l begins.
  KVSHARER_HD constexpr const E* operator()(layer_id l) const noexcept { return data + l.value * distance; }
};
template <class E>
stacked(const E*, index_t) -> stacked<E>;

/// One allocation per layer. The list of them is in host memory and borrowed; it is read when a view is made.
template <class E>
struct separate {
  const E* const* layers = nullptr;  ///< [layer]: where each begins

  /// Where layer l begins.
  constexpr const E* operator()(layer_id l) const noexcept { return layers[l.value]; }
};
template <class E>
separate(const E* const*) -> separate<E>;
template <class E>
separate(E* const*) -> separate<E>;

/// The keys, or the values, of all layers: where each layer begins, and the order of numbers inside, the same in all
/// layers.
///
/// planes(l) -> layer_view
template <class Layers, IndexLayout Index>
struct planes {
  Layers layers{};  ///< layer -> pointer to its first number
  Index index{};    ///< the order inside a layer

  /// The view of layer l.
  constexpr auto operator()(layer_id l) const noexcept { return layer_view{layers(l), index}; }
};
template <class Layers, class Index>
planes(Layers, Index) -> planes<Layers, Index>;

/// The keys or the values, in memory with both side by side, keys first.
enum class part : unsigned char { keys, values };

}  // namespace kvsharer::inline v0::adapt
