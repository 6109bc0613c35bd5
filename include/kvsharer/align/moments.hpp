// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// Running sums over tokens of products of one head's vectors in two layers, x of the owner and y of the reader, in
/// double. The tokens themselves are not kept.
struct second_moments {
  index_t width = 0;       ///< channels of a vector
  double tokens = 0;       ///< added so far
  std::vector<double> x;   ///< sum of x [width]
  std::vector<double> y;   ///< sum of y [width]
  std::vector<double> xx;  ///< sum of x x' [width][width]
  std::vector<double> yx;  ///< sum of y x' [width][width], the row being y's channel
  std::vector<double> yy;  ///< sum of squares of y [width]

  /// No tokens yet, of vectors of `n` channels. Memory: (2 n^2 + 3 n) doubles.
  explicit second_moments(index_t n)
      : width(n), x(static_cast<std::size_t>(n)), y(x), xx(static_cast<std::size_t>(n * n)), yx(xx), yy(x) {}

  /// One token, [width] each. O(width^2).
  void add(const double* of_x, const double* of_y) noexcept {
    for (index_t i = 0; i < width; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double xi = of_x[i], yi = of_y[i];
      x[at] += xi;
      y[at] += yi;
      yy[at] += yi * yi;
      double* const xx_row = xx.data() + i * width;
      double* const yx_row = yx.data() + i * width;
      for (index_t j = 0; j < width; ++j) {
        xx_row[j] += xi * of_x[j];
        yx_row[j] += yi * of_x[j];
      }
    }
    tokens += 1;
  }
};

/// The statistics from which an alignment of a reader and its owner is fitted, collected sample by sample: second
/// moments of the keys and of the values, per KV head. Memory: 4 * kv_heads * head_dim^2 doubles for any number of
/// tokens.
class pair_moments {
 public:
  /// Caches in host memory.
  template <memory_space S>
  static constexpr bool can_read = S == memory_space::host;

  /// Throws errc::bad_shape unless there is a head and head_dim is even and positive.
  pair_moments(index_t kv_heads, index_t head_dim) : kv_heads_(kv_heads), head_dim_(head_dim) {
    if (kv_heads < 1 || head_dim < 2 || head_dim % 2 != 0)
      throw error(errc::bad_shape, "moments need a KV head and an even number of channels; got " +
                                       std::to_string(kv_heads) + " and " + std::to_string(head_dim));
    keys_.assign(static_cast<std::size_t>(kv_heads), second_moments(head_dim));
    values_ = keys_;
  }

  /// Of one layer.
  index_t kv_heads() const noexcept { return kv_heads_; }
  /// Channels of a head.
  index_t head_dim() const noexcept { return head_dim_; }
  /// The sums of keys of a KV head in [0, kv_heads()).
  const second_moments& keys(index_t head) const noexcept { return keys_[static_cast<std::size_t>(head)]; }
  /// The sums of values.
  const second_moments& values(index_t head) const noexcept { return values_[static_cast<std::size_t>(head)]; }

  /// Adds all tokens of one sequence: y from pair.reader (the reader's own keys and values), x from pair.owner. Throws
  /// errc::bad_shape if the cache has other heads or channels, errc::out_of_range for a layer that does not exist.
  /// O(tokens * kv_heads * head_dim^2).
  template <class C>
  void add(const C& cache, layer_pair pair) {
    if constexpr (require_kv_cache<C>())
      if constexpr (require_readable<pair_moments, C::space>()) {
        const cache_shape s = cache.shape();
        if (s.kv_heads != kv_heads_ || s.head_dim != head_dim_)
          throw error(errc::bad_shape, "moments of " + std::to_string(kv_heads_) + " heads of " +
                                           std::to_string(head_dim_) + " channels cannot take a cache with " +
                                           std::to_string(s.kv_heads) + " of " + std::to_string(s.head_dim));
        check_layer(s, pair.owner);
        check_layer(s, pair.reader);
        add(keys_, cache.keys(pair.owner), cache.keys(pair.reader), cache.length());
        add(values_, cache.values(pair.owner), cache.values(pair.reader), cache.length());
      }
  }

 private:
  static void check_layer(const cache_shape& s, layer_id l) {
    if (l.value < 0 || l.value >= s.layers)
      throw error(errc::out_of_range, "there is no layer " + std::to_string(l.value) + " in a cache of " +
                                          std::to_string(s.layers) + " layers");
  }

  template <LayerView X, LayerView Y>
  void add(std::vector<second_moments>& to, const X& x, const Y& y, index_t tokens) {
    std::vector<double> of_x(static_cast<std::size_t>(head_dim_)), of_y(of_x);
    for (index_t h = 0; h < kv_heads_; ++h)
      for (index_t t = 0; t < tokens; ++t) {
        for (index_t d = 0; d < head_dim_; ++d) {
          of_x[static_cast<std::size_t>(d)] = static_cast<double>(static_cast<float>(x.at(h, t, d)));
          of_y[static_cast<std::size_t>(d)] = static_cast<double>(static_cast<float>(y.at(h, t, d)));
        }
        to[static_cast<std::size_t>(h)].add(of_x.data(), of_y.data());
      }
  }

  index_t kv_heads_, head_dim_;
  std::vector<second_moments> keys_, values_;
};

}  // namespace kvsharer::inline v0
