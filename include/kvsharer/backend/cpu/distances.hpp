// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "kvsharer/backend/cpu/backend.hpp"
#include "kvsharer/backend/cpu/parallel.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu {

namespace detail {

template <LayerView A, LayerView B, DistanceMetric M>
double plane_distance(const A& a, const B& b, index_t heads, index_t tokens, index_t channels, const M& metric) {
  double rows = 0;
  typename M::partial plane{};
  for (index_t h = 0; h < heads; ++h)
    for (index_t t = 0; t < tokens; ++t) {
      typename M::partial row{};
      for (index_t c = 0; c < channels; ++c) row = metric.step(row, a.at(h, t, c), b.at(h, t, c));
      if constexpr (M::scope == fold_scope::row)
        rows += metric.finish(row, channels);
      else
        plane = metric.merge(plane, row);
    }
  if constexpr (M::scope == fold_scope::row)
    return rows / static_cast<double>(heads * tokens);
  else
    return metric.finish(plane, heads * tokens * channels);
}

}  // namespace detail

/// The distance of every two layers of `averages`: half that of their keys plus half that of their values. A NaN in a
/// layer makes that layer's distances NaN. The result does not depend on the number of threads.
///
/// Throws errc::bad_shape when the cache has no tokens, heads or channels.
template <KVCache C, DistanceMetric M>
distance_matrix layer_distances(const backend&, const C& averages, M metric) {
  const cache_shape s = averages.shape();
  const index_t tokens = averages.length();
  if (s.layers < 0 || s.kv_heads <= 0 || s.head_dim <= 0 || tokens <= 0)
    throw error(errc::bad_shape, "distances need at least one head, one channel and one token; got " +
                                     std::to_string(s.kv_heads) + ", " + std::to_string(s.head_dim) + " and " +
                                     std::to_string(tokens));
  distance_matrix distances(static_cast<int>(s.layers));
  const auto pairs = all_pairs(static_cast<int>(s.layers));
  parallel_for(static_cast<index_t>(pairs.size()), [&](index_t i) {
    const layer_pair p = pairs[static_cast<std::size_t>(i)];
    const auto half = [&](const auto& a, const auto& b) {
      return detail::plane_distance(a, b, s.kv_heads, tokens, s.head_dim, metric);
    };
    distances.set(p, (half(averages.keys(p.reader), averages.keys(p.owner)) +
                      half(averages.values(p.reader), averages.values(p.owner))) /
                         2);
  });
  return distances;
}

}  // namespace kvsharer::inline v0::cpu
