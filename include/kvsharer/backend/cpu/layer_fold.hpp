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

/// Rows [first, last) of a plane.
struct row_range {
  index_t first = 0;
  index_t last = 0;
};

/// Folds all pairs of layers over rows of one plane (the keys or the values). One worker's memory, reused from range
/// to range. Every number is read once from the views, while the block before it is being folded within the cache.
template <LayerView View, DistanceMetric M>
class layer_fold {
 public:
  using partial = typename M::partial;
  /// What some rows of a pair come to: the sum of their distances, or their part of the fold.
  using value = std::conditional_t<M::scope == fold_scope::row, double, partial>;

  layer_fold(const std::vector<View>& layers, index_t tokens, index_t channels, const M& metric)
      : layers_(&layers),
        tokens_(tokens),
        channels_(channels),
        metric_(metric),
        front_(tiles() * tile_side),
        back_(tiles() * tile_side),
        folded_(static_cast<std::size_t>(tiles() * (tiles() + 1) / 2 * tile_pairs * lanes)),
        sums_(M::scope == fold_scope::row ? folded_.size() : 0) {}

  /// Writes the value of `rows` of every pair to out[pair], pairs by reader and then by owner ascending. `then` is
  /// what the next call will be asked for, so that its first block is ready when it comes; it may be empty.
  void fold(row_range rows, row_range then, value* out) {
    std::fill(sums_.begin(), sums_.end(), 0.0);
    row_block block = first_block(rows);
    if (ready_ != rows.first)
      for (index_t l = 0; l < layer_count(); ++l) load(front_, l, block);
    while (block.rows > 0) {
      const row_block next = following(block, rows.last);
      fold_block(block, next.rows > 0 ? next : first_block(then));
      std::swap(front_, back_);
      if (block.channel + block.channels == channels_) finish_rows(block, block.row == rows.first, out);
      block = next;
    }
    ready_ = then.first < then.last ? then.first : -1;
    if constexpr (M::scope == fold_scope::row)
      each_pair([&](index_t pair, index_t at) {
        out[pair] = 0;
        for (index_t lane = 0; lane < lanes; ++lane) out[pair] += sums_[static_cast<std::size_t>(at + lane)];
      });
  }

 private:
  using panel = row_panel<View>;

  index_t layer_count() const noexcept { return static_cast<index_t>(layers_->size()); }
  index_t tiles() const noexcept { return (layer_count() + tile_side - 1) / tile_side; }
  const View& view(index_t l) const noexcept { return (*layers_)[static_cast<std::size_t>(l)]; }

  void load(panel& to, index_t l, row_block b) { to.load(l, view(l), b, tokens_); }

  row_block first_block(row_range r) const noexcept {
    return {r.first, std::clamp<index_t>(r.last - r.first, 0, lanes), 0, std::min(panel::channel_block, channels_)};
  }
  row_block following(row_block b, index_t last) const noexcept {
    const index_t channel = b.channel + b.channels;
    if (channel == channels_) return first_block({b.row + b.rows, last});
    return {b.row, b.rows, channel, std::min(panel::channel_block, channels_ - channel)};
  }

  /// Folds the block in front_. Between two tiles a layer of `next` is turned into back_, and within a tile the layer
  /// due `ahead` tiles later is fetched: long enough before for memory to answer, short enough not to be evicted.
  void fold_block(row_block block, row_block next) {
    constexpr index_t ahead = 3;
    const index_t visits = tiles() * (tiles() + 1) / 2, layers = next.rows > 0 ? layer_count() : 0;
    const index_t each = (layers + visits - 1) / visits;
    fetch_list lines;
    index_t loaded = 0;
    partial* sums = folded_.data();
    for (index_t i = 0; i < tiles(); ++i)
      for (index_t j = 0; j <= i; ++j, sums += tile_pairs * lanes) {
        const index_t fetch = loaded + ahead * each;
        lines.size = 0;
        if (fetch < layers) panel::list(view(fetch), next, tokens_, lines);
        lines.size = std::min(lines.size, block.channels);
        const tile_operands t{front_.layer(i * tile_side), front_.layer(j * tile_side), panel::layer_stride,
                              block.channels};
        if (i == j)
          fold_tile<true>(metric_, t, block.channel == 0, lines, sums);
        else
          fold_tile<false>(metric_, t, block.channel == 0, lines, sums);
        for (index_t k = 0; k < each && loaded < layers; ++k, ++loaded) load(back_, loaded, next);
      }
  }

  void finish_rows(row_block block, bool first, [[maybe_unused]] value* out) {
    each_pair([&](index_t pair, index_t at) {
      const partial* folded = folded_.data() + at;
      if constexpr (M::scope == fold_scope::row) {
        add_rows(metric_, folded, block.rows, channels_, sums_.data() + at);
      } else {
        value all = folded[0];
        for (index_t lane = 1; lane < block.rows; ++lane) all = metric_.merge(all, folded[lane]);
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
  panel front_, back_;
  index_t ready_ = -1;              // the row whose first block is in front_ already
  aligned_vector<partial> folded_;  // [tile][i][j][lane]
  std::vector<double> sums_;        // the same; row scope only
};

}  // namespace kvsharer::inline v0::cpu::detail
