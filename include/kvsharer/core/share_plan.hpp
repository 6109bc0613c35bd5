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
/// A value that is valid whenever it exists, as its maps are. A share_map is a plan wherever one is asked for. The
/// unit of storage is a plane: one layer's keys, or one layer's values.
class share_plan {
 public:
  /// The plan of no layers.
  share_plan() = default;

  /// Keys and values are shared together.
  share_plan(share_map both) : keys_(both), values_(std::move(both)) {}

  /// Throws errc::bad_map when the maps are of different numbers of layers.
  share_plan(share_map keys, share_map values) : keys_(std::move(keys)), values_(std::move(values)) {
    if (keys_.layers() != values_.layers())
      throw error(errc::bad_map, "the keys' map is of " + std::to_string(keys_.layers()) + " layers, the values' of " +
                                     std::to_string(values_.layers()));
  }

  /// Whose keys each layer reads.
  const share_map& keys() const noexcept { return keys_; }
  /// Whose values each layer reads.
  const share_map& values() const noexcept { return values_; }
  /// Of the model, owners and readers.
  int layers() const noexcept { return keys_.layers(); }

  /// Do keys and values follow the same map?
  bool is_one_map() const noexcept { return keys_ == values_; }

  /// That map, for `what` (it stands in the error's text) that knows of no other kind. Throws errc::maps_differ.
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

  /// Does layer l store keys? What the forward pass asks before projecting them.
  bool owns_keys(layer_id l) const noexcept { return keys_.owns(l); }
  /// Does layer l store values? What the forward pass asks before projecting them.
  bool owns_values(layer_id l) const noexcept { return values_.owns(l); }
  /// Does layer l store anything?
  bool owns(layer_id l) const noexcept { return owns_keys(l) || owns_values(l); }

  /// Planes that are stored: half layers.
  int planes() const noexcept { return keys_.owner_count() + values_.owner_count(); }
  /// Planes that are not, since another layer's are read.
  int shared_planes() const noexcept { return keys_.reader_count() + values_.reader_count(); }

  /// The last layer that stores anything: above it, a prefill needs the last position only. Precondition: layers() > 0.
  layer_id last_owner() const noexcept { return std::max(keys_.last_owner(), values_.last_owner()); }

  /// This plan with one more reader of keys, of values or of both; see share_map::with, whose refusals are its own.
  result<share_plan> with(layer_pair pair, kv_part part) const {
    result<share_map> keys = part == kv_part::values ? result(keys_) : keys_.with(pair);
    if (!keys) return keys.failure();
    result<share_map> values = part == kv_part::keys ? result(values_) : values_.with(pair);
    if (!values) return values.failure();
    return share_plan(std::move(keys).value(), std::move(values).value());
  }

  /// That of the map where there is one; else of both. Stable across platforms and versions.
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
