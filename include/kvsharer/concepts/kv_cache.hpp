// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <type_traits>

#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// A view of one layer's keys or values of one sequence. It reads number by number and is passed by value.
///
/// Required of `const V v`:
///   V::value_type                          the stored type
///   v.at(head, token, channel) -> float    the number, decoded
template <class V>
concept LayerView = std::is_trivially_copyable_v<V> && requires(const V v, index_t i) {
  typename V::value_type;
  { v.at(i, i, i) } -> std::convertible_to<float>;
};

/// A view in which the head_dim numbers of a row are neighbours in memory, so that loops can vectorise.
///
/// Required besides:
///   V::value_type converts to float, to the same number as `at`; packed codes have no rows
///   v.row(head, token) -> const value_type*
template <class V>
concept RowContiguousView = LayerView<V> && std::convertible_to<typename V::value_type, float> &&
    requires(const V v, index_t i) {
  { v.row(i, i) } -> std::same_as<const typename V::value_type*>;
};

/// A row-contiguous view that also says for how many tokens the distance between rows is constant (see TokenRunLayout).
///
/// Required besides: v.token_stride() -> index_t, v.run(token, tokens) -> index_t
template <class V>
concept TokenRunView = RowContiguousView<V> && requires(const V v, index_t i) {
  { v.token_stride() } -> std::same_as<index_t>;
  { v.run(i, i) } -> std::same_as<index_t>;
};

/// An engine's cache of one sequence, for reading. No member changes the cache.
///
/// Required of `const C c` and `layer_id l`:
///   C::space -> memory_space                     where the views' bytes lie
///   c.shape() -> cache_shape
///   c.length() -> index_t                        tokens stored now
///   c.keys(l), c.values(l) -> LayerView          by value; keys as attention reads them, normally after RoPE
template <class C>
concept KVCache = requires(const C& c, layer_id l) {
  {std::bool_constant<C::space == memory_space::host>{}};
  { c.shape() } -> std::same_as<cache_shape>;
  { c.length() } -> std::convertible_to<index_t>;
  { c.keys(l) } -> LayerView;
  { c.values(l) } -> LayerView;
};

}  // namespace kvsharer::inline v0
