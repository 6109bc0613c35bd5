// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/hash.hpp"
#include "kvsharer/core/kv_part.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// Which layer's keys and which layer's values each layer reads: two maps of the same layers, which are one and the
/// same unless they are given apart. To share only a layer's keys, or only its values, frees half of its cache.
///
/// A plan is valid whenever it exists, as its maps are. A share_map converts to a plan. The unit of storage is a plane:
/// one layer's keys, or one layer's values.
class share_plan {
 public:
  /// The plan of no layers.
  share_plan() = default;

  /// The same map for keys and values.
  share_plan(share_map both) : keys_(both), values_(std::move(both)) {}

  /// Throws errc::bad_map if the maps have different numbers of layers.
  share_plan(share_map keys, share_map values) : keys_(std::move(keys)), values_(std::move(values)) {
    if (keys_.layers() != values_.layers())
      throw error(errc::bad_map, "the map of keys has " + std::to_string(keys_.layers()) + " layers, that of values " +
                                     std::to_string(values_.layers()));
  }

  /// The map of keys.
  const share_map& keys() const noexcept { return keys_; }
  /// The map of values.
  const share_map& values() const noexcept { return values_; }
  /// Of the model, owners and readers.
  int layers() const noexcept { return keys_.layers(); }

  /// Are the maps of keys and values equal?
  bool is_one_map() const noexcept { return keys_ == values_; }

  /// The map of keys and values, for code that supports only one map. Throws errc::maps_differ if there are two; `what`
  /// names that code in the error text.
  const share_map& one_map(const std::string& what) const {
    if (!is_one_map())
      throw error(errc::maps_differ, what +
                                         " takes one map for keys and values, and those of this plan differ from "
                                         "layer " +
                                         std::to_string(first_difference(keys_, values_).value) + " on");
    return keys_;
  }

  // Precondition of all members that take a layer: 0 <= l < layers().

  /// The layer whose keys layer l reads.
  layer_id key_owner(layer_id l) const noexcept { return keys_.owner(l); }
  /// The layer whose values layer l reads.
  layer_id value_owner(layer_id l) const noexcept { return values_.owner(l); }

  /// Does layer l store keys? The forward pass checks this before it projects them.
  bool owns_keys(layer_id l) const noexcept { return keys_.owns(l); }
  /// Does layer l store values? The forward pass checks this before it projects them.
  bool owns_values(layer_id l) const noexcept { return values_.owns(l); }
  /// Does layer l store anything?
  bool owns(layer_id l) const noexcept { return owns_keys(l) || owns_values(l); }

  /// Number of planes that are stored.
  int planes() const noexcept { return keys_.owner_count() + values_.owner_count(); }
  /// Number of planes that are not stored, because their layers read another layer's plane.
  int shared_planes() const noexcept { return keys_.reader_count() + values_.reader_count(); }

  /// The last layer that stores anything. Above it, a prefill needs only the last position. Precondition: layers() > 0.
  layer_id last_owner() const noexcept { return std::max(keys_.last_owner(), values_.last_owner()); }

  /// This plan with one more reader of keys, of values or of both. Errors as share_map::with.
  result<share_plan> with(layer_pair pair, kv_part part) const {
    result<share_map> keys = part == kv_part::values ? result(keys_) : keys_.with(pair);
    if (!keys) return keys.failure();
    result<share_map> values = part == kv_part::keys ? result(values_) : values_.with(pair);
    if (!values) return values.failure();
    return share_plan(std::move(keys).value(), std::move(values).value());
  }

  /// The map's hash if the maps are equal, else a hash of both. The same on all platforms and in all versions.
  std::uint64_t hash() const noexcept {
    return is_one_map() ? keys_.hash() : (keys_.hash() * fnv1a::prime) ^ values_.hash();
  }

  /// Equal when both maps are.
  friend bool operator==(const share_plan& a, const share_plan& b) noexcept {
    return a.keys_ == b.keys_ && a.values_ == b.values_;
  }

 private:
  share_map keys_, values_;
};

/// The first layer in which two plans of equal length differ, or layers() if they do not.
inline layer_id first_difference(const share_plan& a, const share_plan& b) noexcept {
  return std::min(first_difference(a.keys(), b.keys()), first_difference(a.values(), b.values()));
}

}  // namespace kvsharer::inline v0
