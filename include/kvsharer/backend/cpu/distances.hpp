// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <utility>
#include <vector>

#include "kvsharer/backend/cpu/backend.hpp"
#include "kvsharer/backend/cpu/layer_fold.hpp"
#include "kvsharer/backend/cpu/parallel.hpp"
#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu {

namespace detail::inline KVSHARER_LANES {

/// The distance of every pair in one plane, sorted by reader and then by owner. The division of rows into chunks
/// depends only on their number, and chunks are joined in order, so the sums do not depend on the number of threads.
template <LayerView View, DistanceMetric M>
std::vector<double> plane_distances(const std::vector<View>& layers, cache_shape s, index_t tokens, const M& metric) {
  using worker = layer_fold<View, M>;
  constexpr index_t most_chunks = 64;
  const index_t rows = s.kv_heads * tokens, pairs = s.layers * (s.layers - 1) / 2;
  const index_t chunk_rows = ((rows + most_chunks - 1) / most_chunks + lanes - 1) / lanes * lanes;
  const index_t chunks = (rows + chunk_rows - 1) / chunk_rows;

  std::vector<typename worker::value> parts(static_cast<std::size_t>(chunks * pairs));  // [chunk][pair]
  const auto part = [&](index_t chunk) { return parts.data() + chunk * pairs; };
  std::atomic<index_t> next = 0;
  parallel_for(std::min<index_t>(thread_count(), chunks), [&](index_t) {
    worker w(layers, tokens, s.head_dim, metric);
    for (index_t chunk = next++; chunk < chunks; chunk = next++)
      w.fold(chunk * chunk_rows, std::min(rows, (chunk + 1) * chunk_rows), part(chunk));
  });

  // Joined in pairs, so that a float fold over many rows stays precise.
  for (index_t step = 1; step < chunks; step *= 2)
    for (index_t chunk = 0; chunk + step < chunks; chunk += 2 * step)
      for (index_t pair = 0; pair < pairs; ++pair) {
        auto& left = part(chunk)[pair];
        const auto& right = part(chunk + step)[pair];
        if constexpr (M::scope == fold_scope::row)
          left += right;
        else
          left = metric.merge(left, right);
      }

  std::vector<double> distances(static_cast<std::size_t>(pairs));
  for (index_t pair = 0; pair < pairs; ++pair) {
    const auto& all = part(0)[pair];
    if constexpr (M::scope == fold_scope::row)
      distances[static_cast<std::size_t>(pair)] = all / static_cast<double>(rows);
    else
      distances[static_cast<std::size_t>(pair)] = metric.finish(all, rows * s.head_dim);
  }
  return distances;
}

template <KVCache C, DistanceMetric M>
distance_matrix all_distances(const C& averages, const M& metric) {
  const cache_shape s = averages.shape();
  const index_t tokens = averages.length();
  check_measurable(s, tokens);
  distance_matrix distances(static_cast<int>(s.layers));
  if (s.layers < 2) return distances;

  const auto measure = [&](auto plane) {
    std::vector<decltype(plane(layer_id{}))> views;
    for (layer_id l{0}; l.value < s.layers; ++l.value) views.push_back(plane(l));
    return plane_distances(views, s, tokens, metric);
  };
  const auto keys = measure([&](layer_id l) { return averages.keys(l); });
  const auto values = measure([&](layer_id l) { return averages.values(l); });
  std::size_t i = 0;
  for (layer_pair p : all_pairs(static_cast<int>(s.layers))) {
    distances.set(p, (keys[i] + values[i]) / 2);
    ++i;
  }
  return distances;
}

}  // namespace detail::inline KVSHARER_LANES

inline namespace KVSHARER_LANES {

/// The distance of every two layers of `averages`: the mean of that of their keys and that of their values. If a layer
/// has a NaN, its distances are NaN. Every number is read once. The result does not depend on the number of threads; it
/// may depend, by rounding, on the width of the SIMD registers.
///
/// Throws errc::bad_shape when the cache has no heads, channels or tokens. O(layers^2 x heads x tokens x channels).
template <class C, class M>
distance_matrix layer_distances(const backend&, const C& averages, M metric) {
  if constexpr (!(require_kv_cache<C>() && require_distance_metric<M>())) {
    return distance_matrix(0);
  } else if constexpr (!require_readable<backend, C::space>()) {
    return distance_matrix(0);
  } else {
    return detail::all_distances(averages, metric);
  }
}

}  // namespace KVSHARER_LANES

}  // namespace kvsharer::inline v0::cpu
