// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

#include "kvsharer/config.hpp"

/// Types that all folders use: indices, layers, and the shape of a cache. Equality is defined explicitly beside the
/// ordering that implies it, since nvcc 13 loses the implied one between its passes.
namespace kvsharer::inline v0 {

/// Signed, as indices of Eigen, because differences of positions are as common as positions.
using index_t = std::ptrdiff_t;

/// Which memory a pointer points to.
enum class memory_space : std::uint8_t { host, device };

/// A decoder layer; 0 is nearest the input. It has its own type, so that the compiler finds it swapped with a head or
/// token.
struct layer_id {
  int value = 0;  ///< from 0, in the order of the forward pass
  friend constexpr auto operator<=>(layer_id, layer_id) = default;
  friend constexpr bool operator==(layer_id, layer_id) = default;
};

/// A pair of layers that a search may share: `reader` (the later layer) reads what `owner` (the earlier one) stores.
struct layer_pair {
  layer_id reader;  ///< the later layer
  layer_id owner;   ///< the earlier layer
  friend constexpr auto operator<=>(layer_pair, layer_pair) = default;
  friend constexpr bool operator==(layer_pair, layer_pair) = default;
};

/// Channels of one KV head's row of keys, and of its row of values.
struct kv_widths {
  index_t keys = 0;    ///< channels
  index_t values = 0;  ///< channels
  friend constexpr bool operator==(kv_widths, kv_widths) = default;
};

/// The size of a cache: for keys and for values, in each of `layers` layers, `capacity` tokens with `kv_heads` heads of
/// `head_dim` numbers. Values may have another width than keys.
struct cache_shape {
  index_t layers = 0;     ///< of the model
  index_t kv_heads = 0;   ///< of a layer
  index_t head_dim = 0;   ///< channels of a head
  index_t capacity = 0;   ///< tokens that a sequence may have
  index_t value_dim = 0;  ///< channels of a head's values; 0 stands for head_dim

  /// Channels of rows of keys and of values.
  constexpr kv_widths widths() const noexcept { return {head_dim, value_dim != 0 ? value_dim : head_dim}; }
  /// Are they equal?
  constexpr bool one_width() const noexcept { return value_dim == 0 || value_dim == head_dim; }
  friend constexpr bool operator==(cache_shape, cache_shape) = default;
};

}  // namespace kvsharer::inline v0
