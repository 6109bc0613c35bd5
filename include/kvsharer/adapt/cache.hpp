// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::adapt {

/// The KVCache of one sequence, made of two callables that return the LayerView of a layer's keys and of its values:
/// `planes`, or any other. Make it again when the engine's length or block tables have changed.
template <memory_space Space, class Keys, class Values>
class borrowed_cache {
 public:
  static constexpr memory_space space = Space;

  /// Takes the views of all layers by value; the engine keeps the memory. Checks nothing.
  constexpr borrowed_cache(cache_shape shape, index_t length, Keys keys, Values values)
      : shape_(shape), length_(length), keys_(std::move(keys)), values_(std::move(values)) {}

  constexpr cache_shape shape() const noexcept { return shape_; }
  constexpr index_t length() const noexcept { return length_; }
  constexpr auto keys(layer_id l) const { return keys_(l); }
  constexpr auto values(layer_id l) const { return values_(l); }

 private:
  cache_shape shape_;
  index_t length_;
  Keys keys_;
  Values values_;
};

/// Returns such a cache of the first `length` tokens. `Space` is the memory of the views' numbers. Throws
/// errc::bad_argument if the length is negative or above the capacity.
template <memory_space Space = memory_space::host, class Keys, class Values>
borrowed_cache<Space, Keys, Values> cache(cache_shape shape, index_t length, Keys keys, Values values) {
  if (length < 0 || length > shape.capacity)
    throw error(errc::bad_argument, "a cache with room for " + std::to_string(shape.capacity) + " tokens cannot hold " +
                                        std::to_string(length) +
                                        "; give the length in tokens, and the room as capacity");
  return {shape, length, std::move(keys), std::move(values)};
}

}  // namespace kvsharer::inline v0::adapt
