// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "kvsharer/backend/cpu/backend.hpp"
#include "kvsharer/backend/cpu/parallel.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu {

/// One minus linear centred kernel alignment (Kornblith et al. 2019, arXiv 1905.00414), used instead of a metric. A
/// layer's keys (or values) are a matrix X [tokens][heads * channels] minus each column's mean, and the distance of two
/// layers is
///
///   1 - |X'Y|^2 / (|X'X| |Y'Y|), Frobenius norms.
///
/// It compares how two layers distinguish tokens, and does not depend on scale, offset and any rotation of the
/// channels. It compares all channels of one layer with all of the other, so it is no fold over pairs of numbers.
struct linear_cka {};

namespace detail {

using features = Eigen::MatrixXd;  // [tokens][heads * channels], columns of mean 0

template <LayerView View>
features centred(const View& view, cache_shape s, index_t tokens) {
  features x(tokens, s.kv_heads * s.head_dim);
  for (index_t h = 0; h < s.kv_heads; ++h)
    for (index_t d = 0; d < s.head_dim; ++d)
      for (index_t t = 0; t < tokens; ++t)
        x(t, h * s.head_dim + d) = static_cast<double>(static_cast<float>(view.at(h, t, d)));
  x.rowwise() -= x.colwise().mean().eval();
  return x;
}

/// The matrix of a layer that is used in products: its features, or their Gram matrix XX' if that is smaller. |X'Y|^2
/// is the sum of the element-wise product of XX' and YY'.
class cka_plane {
 public:
  void add(features x) {
    by_tokens_ = x.rows() <= x.cols();
    if (by_tokens_) x = (x * x.transpose()).eval();
    layers_.push_back(std::move(x));
  }
  void measure_norms() {
    for (std::size_t l = 0; l < layers_.size(); ++l) norms_.push_back(std::sqrt(alignment(l, l)));
  }

  /// In [0, 1] up to rounding. Two constant layers have distance 0; a constant layer has distance 1 from any other.
  double distance(std::size_t a, std::size_t b) const {
    if (is_zero(norms_[a] * norms_[b])) return norms_[a] == norms_[b] ? 0.0 : 1.0;  // not where one of them is NaN
    return 1.0 - alignment(a, b) / (norms_[a] * norms_[b]);
  }

 private:
  double alignment(std::size_t a, std::size_t b) const {
    const features &x = layers_[a], &y = layers_[b];
    return by_tokens_ ? x.cwiseProduct(y).sum() : (x.transpose() * y).squaredNorm();
  }

  bool by_tokens_ = false;
  std::vector<features> layers_;
  std::vector<double> norms_;
};

template <KVCache C>
distance_matrix all_cka_distances(const C& averages) {
  const cache_shape s = averages.shape();
  const index_t tokens = averages.length();
  check_measurable(s, tokens, "linear CKA", 2);
  distance_matrix distances(static_cast<int>(s.layers));
  const std::vector<layer_pair> pairs = all_pairs(static_cast<int>(s.layers));
  std::vector<double> sums(pairs.size(), 0.0);
  const auto add = [&](auto plane) {
    cka_plane all;
    for (layer_id l{0}; l.value < s.layers; ++l.value) all.add(centred(plane(l), s, tokens));
    all.measure_norms();
    parallel_for(static_cast<index_t>(pairs.size()), [&](index_t i) {
      const layer_pair p = pairs[static_cast<std::size_t>(i)];
      sums[static_cast<std::size_t>(i)] +=
          all.distance(static_cast<std::size_t>(p.reader.value), static_cast<std::size_t>(p.owner.value));
    });
  };
  add([&](layer_id l) { return averages.keys(l); });
  add([&](layer_id l) { return averages.values(l); });
  for (std::size_t i = 0; i < pairs.size(); ++i) distances.set(pairs[i], sums[i] / 2);
  return distances;
}

}  // namespace detail

/// The linear_cka distance of every two layers: the mean of that of their keys and that of their values, computed in
/// double. A NaN or an infinity in a layer makes that layer's distances NaN.
///
/// Throws errc::bad_shape when the cache has no heads or channels, or fewer than two tokens. With n the smaller and m
/// the larger of tokens and heads * channels: O(layers * n^2 * m + layers^2 * n^2) where n is tokens, else
/// O(layers^2 * n^2 * m), and layers * n * m doubles of memory.
template <class C>
distance_matrix layer_distances(const backend&, const C& averages, linear_cka) {
  if constexpr (!require_kv_cache<C>()) {
    return distance_matrix(0);
  } else if constexpr (!require_readable<backend, C::space>()) {
    return distance_matrix(0);
  } else {
    return detail::all_cka_distances(averages);
  }
}

}  // namespace kvsharer::inline v0::cpu
