// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

#include "kvsharer/config.hpp"

/// The vocabulary every room shares: indices, layers, and the shape of a cache. Equality is spelled out beside the
/// ordering that implies it, since nvcc 13 loses the implied one between its passes.
namespace kvsharer::inline v0 {

/// Signed, as Eigen's and mdspan's signed indices: differences of positions are as common as positions.
using index_t = std::ptrdiff_t;

/// Where the bytes behind a pointer can be read.
enum class memory_space : std::uint8_t { host, device };

/// A decoder layer, 0 being the one nearest the input. Its own type, so that it is never swapped with a head or a
/// token.
struct layer_id {
  int value = 0;  ///< from 0, in the order in which a token passes
  friend constexpr auto operator<=>(layer_id, layer_id) = default;
  friend constexpr bool operator==(layer_id, layer_id) = default;
};

/// One step of sharing: `reader` (the later layer) is to read what `owner` (the earlier one) stores.
struct layer_pair {
  layer_id reader;  ///< the later layer
  layer_id owner;   ///< the earlier layer
  friend constexpr auto operator<=>(layer_pair, layer_pair) = default;
  friend constexpr bool operator==(layer_pair, layer_pair) = default;
};

/// What an engine's cache holds: `capacity` tokens of `kv_heads` heads of `head_dim` numbers, for keys and for values,
/// in each of `layers` layers.
struct cache_shape {
  index_t layers = 0;    ///< of the model
  index_t kv_heads = 0;  ///< of a layer
  index_t head_dim = 0;  ///< channels of a head
  index_t capacity = 0;  ///< tokens that a sequence may have
  friend constexpr bool operator==(cache_shape, cache_shape) = default;
};

}  // namespace kvsharer::inline v0
