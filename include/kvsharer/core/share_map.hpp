// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/hash.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// Which layer's cache each layer reads. For separate maps of keys and values see share_plan.
///
/// A map is valid whenever it exists: owner(0) = 0, owner(l) <= l, owner(owner(l)) = owner(l). A layer that is its own
/// owner stores keys and values; any other layer (a reader) computes and stores none. Owners are numbered densely in
/// layer order (`slot`), so that storage is an array with one entry per owner. Source: KVSharer (arXiv 2410.18517),
/// algorithm 1; re-mapping of chains as in its released code.
class share_map {
 public:
  /// The map of no layers.
  share_map() = default;

  /// Every layer owns its cache. Throws errc::bad_map when `layers` is negative.
  static share_map identity(int layers) {
    if (layers < 0) throw error(errc::bad_map, "a model cannot have " + std::to_string(layers) + " layers");
    std::vector<int> owners(static_cast<std::size_t>(layers));
    for (int l = 0; l < layers; ++l) owners[static_cast<std::size_t>(l)] = l;
    return share_map(std::move(owners));
  }

  /// From `owners[l]`, the layer that layer l reads; follows chains to their root. Returns errc::bad_map if an entry is
  /// negative or names a later layer. O(layers).
  static result<share_map> from_owners(std::span<const int> owners) {
    std::vector<int> flat(owners.begin(), owners.end());
    for (std::size_t l = 0; l < flat.size(); ++l) {
      if (flat[l] < 0 || flat[l] > static_cast<int>(l))
        return error(errc::bad_map, "layer " + std::to_string(l) + " cannot read layer " + std::to_string(flat[l]) +
                                        "; a layer reads itself or an earlier one");
      // Every earlier entry is a root already, so one ascending pass flattens chains of any length.
      flat[l] = flat[l] == static_cast<int>(l) ? flat[l] : flat[static_cast<std::size_t>(flat[l])];
    }
    return share_map(std::move(flat));
  }

  /// This map with one more reader; the readers of that layer then read the new owner. Returns errc::bad_map unless 0
  /// <= pair.owner < pair.reader < layers(). O(layers).
  result<share_map> with(layer_pair pair) const {
    if (pair.owner.value < 0 || pair.owner >= pair.reader || pair.reader.value >= layers())
      return error(errc::bad_map, "layer " + std::to_string(pair.reader.value) + " cannot read layer " +
                                      std::to_string(pair.owner.value) + " in a model of " + std::to_string(layers()) +
                                      " layers");
    std::vector<int> owners = owners_;
    owners[static_cast<std::size_t>(pair.reader.value)] = pair.owner.value;
    return from_owners(owners);
  }

  /// Of the model, owners and readers.
  int layers() const noexcept { return static_cast<int>(owners_.size()); }
  /// Number of layers that store a cache, at least 1 if there are layers.
  int owner_count() const noexcept { return owner_count_; }
  /// Number of layers that read another layer's cache.
  int reader_count() const noexcept { return layers() - owner_count_; }

  /// The layer whose cache layer l reads. Precondition of all members that take a layer: 0 <= l < layers().
  layer_id owner(layer_id l) const noexcept { return {owners_[index(l)]}; }

  /// Does layer l store keys and values? The forward pass checks this before it projects them.
  bool owns(layer_id l) const noexcept { return owners_[index(l)] == l.value; }

  /// The storage slot that layer l reads, in [0, owner_count()).
  int slot(layer_id l) const noexcept { return slots_[index(l)]; }

  /// The last layer that stores anything. Above it, a prefill needs only the last position. Precondition: layers() > 0.
  layer_id last_owner() const noexcept {
    layer_id l{layers() - 1};
    while (!owns(l)) --l.value;
    return l;
  }

  /// owners()[l] is owner(l): the form in which maps are written to files.
  std::span<const int> owners() const noexcept { return owners_; }

  /// fnv1a over the owners: belongs in every prefix-cache key, since the map changes all hidden states above the first
  /// reader. Stable across platforms and versions.
  std::uint64_t hash() const noexcept {
    fnv1a h;
    for (const int o : owners_) h.add(static_cast<std::int32_t>(o));
    return h.value();
  }

  /// The same owner for every layer.
  friend bool operator==(const share_map& a, const share_map& b) noexcept { return a.owners_ == b.owners_; }

 private:
  explicit share_map(std::vector<int> flat) : owners_(std::move(flat)), slots_(owners_.size()) {
    for (std::size_t l = 0; l < owners_.size(); ++l) {
      const auto o = static_cast<std::size_t>(owners_[l]);
      slots_[l] = o == l ? owner_count_++ : slots_[o];
    }
  }

  static std::size_t index(layer_id l) noexcept { return static_cast<std::size_t>(l.value); }

  std::vector<int> owners_;
  std::vector<int> slots_;
  int owner_count_ = 0;
};

/// The first layer in which two maps of equal length differ, at which a run may resume; layers() if they are equal.
inline layer_id first_difference(const share_map& a, const share_map& b) noexcept {
  layer_id l{0};
  while (l.value < a.layers() && a.owner(l) == b.owner(l)) ++l.value;
  return l;
}

}  // namespace kvsharer::inline v0
