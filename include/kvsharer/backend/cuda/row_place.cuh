// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda::detail {

/// Where a layer's row is, found once and then read piece by piece: its address if the view has rows, otherwise view,
/// head and token.
template <LayerView View>
struct row_place {
  const View* view;
  index_t head, token;

  __device__ static row_place nowhere() { return {nullptr, 0, 0}; }
  __device__ static row_place find(const View& v, index_t head, index_t token) { return {&v, head, token}; }
  __device__ bool exists() const { return view != nullptr; }
  __device__ float at(int channel) const { return view->at(head, token, channel); }
};
template <RowContiguousView View>
struct row_place<View> {
  using element = typename View::value_type;
  const element* row;

  __device__ static row_place nowhere() { return {nullptr}; }
  __device__ static row_place find(const View& v, index_t head, index_t token) { return {find_row(v, head, token)}; }
  __device__ bool exists() const { return row != nullptr; }
  __device__ float at(int channel) const { return ptx::to_float(row[channel]); }
};

}  // namespace kvsharer::inline v0::cuda::detail
