// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include "kvsharer/backend/cpu/aligned_vector.hpp"
#include "kvsharer/backend/cpu/pair_tile.hpp"
#include "kvsharer/backend/cpu/row_panel.hpp"
#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/metric/mean_row_norm.hpp"

namespace kvsharer::inline v0::cpu::detail {

/// Adds the finished values of `rows` lanes to `sums`, lane by lane.
template <DistanceMetric M>
void add_rows(const M& metric, const typename M::partial* folded, index_t rows, index_t channels, double* sums) {
  for (index_t lane = 0; lane < rows; ++lane) sums[lane] += metric.finish(folded[lane], channels);
}

/// The square roots of all lanes at once. They are rounded to float, as the sums under them were already; lanes
/// without a row hold zero.
inline void add_rows(const metric::mean_row_norm&, const float* folded, index_t, index_t, double* sums) {
  alignas(pack) float roots[lanes];
  pack root = aligned(folded);
  square_root(root);
  aligned(roots) = root;
  for (index_t lane = 0; lane < lanes; ++lane) sums[lane] += static_cast<double>(roots[lane]);
}

/// Folds all pairs of layers over rows of one plane (the keys or the values). One worker's memory; reused from rows to
/// rows. Every number is read once from the views; all pairs are then folded within the cache.
template <LayerView View, DistanceMetric M>
class layer_fold {
 public:
  using partial = typename M::partial;
  /// What some rows of a pair come to: the sum of their distances, or their part of the fold.
  using value = std::conditional_t<M::scope == fold_scope::row, double, partial>;

  layer_fold(const std::vector<View>& layers, index_t tokens, index_t channels, const M& metric)
      : layers_(static_cast<index_t>(layers.size())),
        channels_(channels),
        metric_(metric),
        panel_(layers, tiles() * tile_side, tokens),
        folded_(static_cast<std::size_t>(tiles() * (tiles() + 1) / 2 * tile_pairs * lanes)),
        sums_(M::scope == fold_scope::row ? folded_.size() : 0) {}

  /// Writes the value of rows [first, last) of every pair to out[pair], pairs by reader and then by owner ascending.
  void fold(index_t first, index_t last, value* out) {
    std::fill(sums_.begin(), sums_.end(), 0.0);
    for (index_t row = first; row < last; row += lanes) {
      const index_t rows = std::min(lanes, last - row);
      fold_rows(row, rows, std::min(last, row + 2 * lanes));
      each_pair([&](index_t pair, index_t at) {
        if constexpr (M::scope == fold_scope::row) {
          add_rows(metric_, folded_.data() + at, rows, channels_, sums_.data() + at);
        } else {
          const value part = merged(folded_.data() + at, rows);
          out[pair] = row == first ? part : metric_.merge(out[pair], part);
        }
      });
    }
    if constexpr (M::scope == fold_scope::row)
      each_pair([&](index_t pair, index_t at) {
        out[pair] = 0;
        for (index_t lane = 0; lane < lanes; ++lane) out[pair] += sums_[static_cast<std::size_t>(at + lane)];
      });
  }

 private:
  index_t tiles() const noexcept { return (layers_ + tile_side - 1) / tile_side; }

  /// Leaves in folded_ the folds of `rows` rows over all channels, and asks for the rows up to `soon` meanwhile.
  void fold_rows(index_t row, index_t rows, index_t soon) {
    std::fill(folded_.begin(), folded_.end(), partial{});
    index_t ahead_layer = 0, ahead_row = row + rows;
    const index_t visits = std::max<index_t>(1, tiles() * (tiles() + 1) / 2 * ((channels_ + block - 1) / block));
    const index_t ahead_each = ((soon - ahead_row) * layers_ + visits - 1) / visits;
    for (index_t c = 0; c < channels_; c += block) {
      const index_t width = std::min(block, channels_ - c);
      panel_.load(row, rows, c, width);
      partial* sums = folded_.data();
      for (index_t i = 0; i < tiles(); ++i)
        for (index_t j = 0; j <= i; ++j, sums += tile_pairs * lanes) {
          for (index_t k = 0; k < ahead_each && ahead_layer < layers_ && ahead_row < soon; ++k) {
            panel_.prefetch(ahead_layer, ahead_row, channels_);
            if (++ahead_row == soon) ahead_row = row + rows, ++ahead_layer;
          }
          const float *a = panel_.layer(i * tile_side), *b = panel_.layer(j * tile_side);
          const index_t layer = block * lanes;
          if (i == j)
            fold_tile<true>(metric_, a, b, layer, width, sums);
          else
            fold_tile<false>(metric_, a, b, layer, width, sums);
        }
    }
  }

  /// Calls f(pair, where its lanes stand in folded_) for every pair.
  template <class F>
  void each_pair(F&& f) const {
    for (index_t reader = 1; reader < layers_; ++reader)
      for (index_t owner = 0; owner < reader; ++owner) {
        const index_t i = reader / tile_side, j = owner / tile_side;
        const index_t within = (reader % tile_side) * tile_side + owner % tile_side;
        f(reader * (reader - 1) / 2 + owner, ((i * (i + 1) / 2 + j) * tile_pairs + within) * lanes);
      }
  }

  partial merged(const partial* folded, index_t rows) const {
    partial all = folded[0];
    for (index_t lane = 1; lane < rows; ++lane) all = metric_.merge(all, folded[lane]);
    return all;
  }

  static constexpr index_t block = row_panel<View>::channel_block;

  index_t layers_;
  index_t channels_;
  M metric_;
  row_panel<View> panel_;
  aligned_vector<partial> folded_;  // [tile][i][j][lane]
  std::vector<double> sums_;        // the same; row scope only
};

}  // namespace kvsharer::inline v0::cpu::detail
