// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include "kvsharer/backend/cuda/distances/tuning.hpp"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/backend/cuda/row_place.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/metric/mean_row_norm.hpp"

namespace kvsharer::inline v0::cuda::detail {

/// The result of some rows of a pair: the sum of their distances, or their part of the fold.
template <DistanceMetric M>
using fold_value = std::conditional_t<M::scope == fold_scope::row, double, typename M::partial>;

/// Joins two such values.
template <DistanceMetric M>
__device__ fold_value<M> join(const M& metric, const fold_value<M>& a, const fold_value<M>& b) {
  if constexpr (M::scope == fold_scope::row)
    return a + b;
  else
    return metric.merge(a, b);
}

/// The value of one folded row.
template <DistanceMetric M>
__device__ fold_value<M> row_value(const M& metric, const typename M::partial& folded, int channels) {
  if constexpr (M::scope == fold_scope::row)
    return metric.finish(folded, channels);
  else
    return folded;
}
/// The root is rounded to float, as the sum under it is and as on the host: this takes a fifth of the instructions.
__device__ inline double row_value(const metric::mean_row_norm&, float sum, int) {
  return static_cast<double>(std::sqrt(sum));
}

/// The arguments of a fold of all pairs of a range of groups. A row is a (head, token); rows are numbered token by
/// token and head by head.
template <LayerView View, DistanceMetric M>
struct fold_problem {
  const View* views[2];  // [layers] each, of the planes of the grid
  M metric;
  group_range range;
  int rows_at_once;
  int layers;
  int channels;
  index_t tokens;
  index_t rows;
  fold_value<M>* parts;  // [plane][block][pair]
  index_t pairs;
  int first_plane;  // 0 keys, 1 values
  status_word* status;
};

/// Can four numbers at this place be read in one access?
template <class Place>
__device__ bool reads_whole(const Place& place, int channel) {
  return reinterpret_cast<std::uintptr_t>(place.row + channel) % (4 * sizeof(typename Place::element)) == 0;
}

/// Copies `count` <= 4 channels of a row to shared memory as floats, or zeros if the row does not exist. Four floats go
/// by an asynchronous copy, which the caller waits for; everything else is written at once.
template <LayerView View>
__device__ void bring(const row_place<View>& place, int channel, int count, float* to) {
  if (!place.exists()) {
    *reinterpret_cast<float4*>(to) = make_float4(0, 0, 0, 0);
    return;
  }
  if constexpr (RowContiguousView<View>) {
    using element = typename row_place<View>::element;
    if constexpr (std::same_as<element, float>) {
      if (count == 4 && reads_whole(place, channel))
        return ptx::copy_async_16<ptx::reuse::none>(to, place.row + channel, true);
    } else if constexpr (CacheElement<element>) {
      if (count == 4 && reads_whole(place, channel)) {
        const uint2 bits = *reinterpret_cast<const uint2*>(place.row + channel);
        const float2 low = ptx::unpack<element>(bits.x), high = ptx::unpack<element>(bits.y);
        *reinterpret_cast<float4*>(to) = make_float4(low.x, low.y, high.x, high.y);
        return;
      }
    }
  }
  for (int i = 0; i < count; ++i) to[i] = place.at(channel + i);
}

}  // namespace kvsharer::inline v0::cuda::detail
