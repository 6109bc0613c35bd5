// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// The distance between the caches of every two layers. The matrix is symmetric, with zeros on the diagonal; it stores
/// the lower triangle.
class distance_matrix {
 public:
  distance_matrix() = default;

  /// All distances zero. Throws errc::bad_shape when `layers` is negative.
  explicit distance_matrix(int layers) : layers_(layers) {
    if (layers < 0) throw error(errc::bad_shape, "a distance matrix cannot have " + std::to_string(layers) + " layers");
    const auto n = static_cast<std::size_t>(layers);
    lower_.assign(n * (n - (n > 0)) / 2, 0.0);
  }

  /// Rows, and columns.
  int layers() const noexcept { return layers_; }

  /// The distance of two layers, in any order. Precondition: both are in [0, layers()).
  double operator()(layer_id a, layer_id b) const noexcept { return a == b ? 0.0 : lower_[index(a, b)]; }
  /// The same for a pair.
  double operator()(layer_pair p) const noexcept { return (*this)(p.reader, p.owner); }

  /// Precondition: the pair is of two different layers in [0, layers()).
  void set(layer_pair p, double distance) noexcept { lower_[index(p.reader, p.owner)] = distance; }

  friend bool operator==(const distance_matrix&, const distance_matrix&) = default;

 private:
  static std::size_t index(layer_id a, layer_id b) noexcept {
    if (a < b) std::swap(a, b);
    const auto row = static_cast<std::size_t>(a.value);
    return row * (row - 1) / 2 + static_cast<std::size_t>(b.value);
  }

  int layers_ = 0;
  std::vector<double> lower_;
};

/// Throws errc::bad_shape where a cache of this shape and so many tokens has nothing to measure: `what` needs at least
/// one head, one channel and `least_tokens` tokens.
inline void check_measurable(cache_shape s, index_t tokens, const std::string& what = "a distance of layers",
                             index_t least_tokens = 1) {
  if (s.layers < 0 || s.kv_heads <= 0 || s.head_dim <= 0 || tokens < least_tokens)
    throw error(errc::bad_shape, what + " needs at least one head, one channel and " + std::to_string(least_tokens) +
                                     " token(s); got " + std::to_string(s.kv_heads) + ", " +
                                     std::to_string(s.head_dim) + " and " + std::to_string(tokens));
  if (!s.one_width())
    throw error(errc::bad_shape, what + " needs keys and values of one width, not " + std::to_string(s.head_dim) +
                                     " and " + std::to_string(s.value_dim) + " channels");
}

/// All (reader, owner) pairs of `layers` layers with owner < reader, by reader and then by owner ascending.
inline std::vector<layer_pair> all_pairs(int layers) {
  std::vector<layer_pair> pairs;
  for (int reader = 1; reader < layers; ++reader)
    for (int owner = 0; owner < reader; ++owner) pairs.push_back({{reader}, {owner}});
  return pairs;
}

}  // namespace kvsharer::inline v0
