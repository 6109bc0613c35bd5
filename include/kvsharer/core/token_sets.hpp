// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <numeric>
#include <vector>

#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// Which planes must keep the same tokens. A layer multiplies the weights of its keys' tokens with its values, so the
/// planes that a layer reads are in one set; sets that share a plane are one set. Without separate maps for keys and
/// values, every owner is a set of its own.
class token_sets {
 public:
  /// The sets of a plan, numbered by their first layer. O(layers).
  explicit token_sets(const share_plan& plan) : of_layer_(static_cast<std::size_t>(plan.layers())) {
    // Planes are nodes: the keys of layer l are node l, its values node layers + l.
    const auto layers = static_cast<std::size_t>(plan.layers());
    std::vector<std::size_t> up(2 * layers);
    std::iota(up.begin(), up.end(), std::size_t{0});
    const auto root = [&](std::size_t node) {
      while (up[node] != node) node = up[node] = up[up[node]];
      return node;
    };
    const auto keys_of = [&](int l) { return static_cast<std::size_t>(plan.key_owner({l}).value); };
    for (int l = 0; l < plan.layers(); ++l)
      up[root(layers + static_cast<std::size_t>(plan.value_owner({l}).value))] = root(keys_of(l));
    std::vector<int> number(2 * layers, -1);
    for (int l = 0; l < plan.layers(); ++l) {
      int& set = number[root(keys_of(l))];
      if (set < 0) set = count_++;
      of_layer_[static_cast<std::size_t>(l)] = set;
    }
  }

  /// Number of sets.
  int count() const noexcept { return count_; }
  /// The set of the planes that layer l reads. Precondition: l is a layer of the plan.
  int of(layer_id l) const noexcept { return of_layer_[static_cast<std::size_t>(l.value)]; }

 private:
  std::vector<int> of_layer_;
  int count_ = 0;
};

}  // namespace kvsharer::inline v0
