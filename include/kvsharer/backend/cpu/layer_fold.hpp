// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <vector>

#include "kvsharer/backend/cpu/aligned_vector.hpp"
#include "kvsharer/backend/cpu/pair_tile.hpp"
#include "kvsharer/backend/cpu/row_panel.hpp"
#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/metric/mean_row_norm.hpp"

namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES {

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

/// Folds all pairs of layers over rows of one plane (the keys or the values). One worker's memory, reused from range
/// to range. Every number is read once from the views; all pairs are then folded within the cache.
template <LayerView View, DistanceMetric M>
class layer_fold {
 public:
  using partial = typename M::partial;
  /// The result for some rows of a pair: the sum of their distances, or their part of the fold.
  using value = std::conditional_t<M::scope == fold_scope::row, double, partial>;

  layer_fold(const std::vector<View>& layers, index_t tokens, index_t channels, const M& metric)
      : layers_(&layers),
        tokens_(tokens),
        channels_(channels),
        metric_(metric),
        panel_(tiles() * tile_side),
        folded_(static_cast<std::size_t>(tiles() * (tiles() + 1) / 2 * tile_pairs * lanes)),
        sums_(M::scope == fold_scope::row ? folded_.size() : 0) {}

  /// Writes the value of rows [first, last) of every pair to out[pair], pairs by reader and then by owner ascending.
  void fold(index_t first, index_t last, value* out) {
    std::fill(sums_.begin(), sums_.end(), 0.0);
    for (index_t row = first; row < last; row += lanes) {
      const index_t rows = std::min(lanes, last - row);
      for (index_t channel = 0; channel < channels_; channel += block)
        fold_block({row, rows, channel, std::min(block, channels_ - channel)});
      finish_rows(rows, row == first, out);
    }
    if constexpr (M::scope == fold_scope::row)
      each_pair([&](index_t pair, index_t at) {
        out[pair] = 0;
        for (index_t lane = 0; lane < lanes; ++lane) out[pair] += sums_[static_cast<std::size_t>(at + lane)];
      });
  }

 private:
  static constexpr index_t block = row_panel<View>::channel_block;

  index_t layer_count() const noexcept { return static_cast<index_t>(layers_->size()); }
  index_t tiles() const noexcept { return (layer_count() + tile_side - 1) / tile_side; }

  void fold_block(row_block b) {
    for (index_t l = 0; l < layer_count(); ++l) panel_.load(l, (*layers_)[static_cast<std::size_t>(l)], b, tokens_);
    partial* sums = folded_.data();
    for (index_t i = 0; i < tiles(); ++i)
      for (index_t j = 0; j <= i; ++j, sums += tile_pairs * lanes) {
        const tile_operands t{panel_.layer(i * tile_side), panel_.layer(j * tile_side), panel_.layer_stride,
                              b.channels};
        if (i == j)
          fold_tile<true>(metric_, t, b.channel == 0, sums);
        else
          fold_tile<false>(metric_, t, b.channel == 0, sums);
      }
  }

  void finish_rows(index_t rows, bool first, [[maybe_unused]] value* out) {
    each_pair([&](index_t pair, index_t at) {
      const partial* folded = folded_.data() + at;
      if constexpr (M::scope == fold_scope::row) {
        add_rows(metric_, folded, rows, channels_, sums_.data() + at);
      } else {
        value all = folded[0];
        for (index_t lane = 1; lane < rows; ++lane) all = metric_.merge(all, folded[lane]);
        out[pair] = first ? all : metric_.merge(out[pair], all);
      }
    });
  }

  /// Calls f(pair, where its lanes stand in folded_) for every pair.
  template <class F>
  void each_pair(F&& f) const {
    index_t pair = 0;
    for (index_t reader = 1; reader < layer_count(); ++reader)
      for (index_t owner = 0; owner < reader; ++owner) {
        const index_t i = reader / tile_side, j = owner / tile_side;
        const index_t within = (reader % tile_side) * tile_side + owner % tile_side;
        f(pair++, ((i * (i + 1) / 2 + j) * tile_pairs + within) * lanes);
      }
  }

  const std::vector<View>* layers_;
  index_t tokens_;
  index_t channels_;
  M metric_;
  row_panel<View> panel_;
  aligned_vector<partial> folded_;  // [tile][i][j][lane]
  std::vector<double> sums_;        // the same; row scope only
};

}  // namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES
