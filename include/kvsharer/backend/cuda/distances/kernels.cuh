// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include "kvsharer/backend/cuda/distances/agent.cuh"
#include "kvsharer/backend/cuda/distances/problem.cuh"
#include "kvsharer/backend/cuda/distances/tuning.hpp"
#include "kvsharer/config.hpp"

/// Each kernel passes its block number to an agent. Hidden, so that each shared object in a process keeps its own.
namespace kvsharer::inline v0::cuda::detail {

/// Grid: (blocks, planes).
template <class View, class M>
KVSHARER_HIDDEN __global__ void __launch_bounds__(fold_tuning.max_threads, fold_tuning.blocks_per_multiprocessor)
    fold_kernel(const __grid_constant__ fold_problem<View, M> p) {
  const index_t part = index_t{p.first_plane + static_cast<int>(blockIdx.y)} * gridDim.x + blockIdx.x;
  fold_agent<View, M>(p, p.views[blockIdx.y]).run(blockIdx.x, gridDim.x, p.parts + part * p.pairs);
}

inline constexpr unsigned merge_threads = 32;

/// Grid: pairs. `parts`: [plane][block][pair].
template <class M>
KVSHARER_HIDDEN __global__ void __launch_bounds__(merge_threads)
    merge_distances_kernel(M metric, const fold_value<M>* parts, index_t blocks, index_t pairs, index_t rows,
                           index_t channels, double* out) {
  const index_t pair = blockIdx.x;
  const double keys = plane_distance(metric, parts + pair, blocks, pairs, rows, channels);
  const double values = plane_distance(metric, parts + blocks * pairs + pair, blocks, pairs, rows, channels);
  if (threadIdx.x == 0) out[pair] = (keys + values) / 2;
}

}  // namespace kvsharer::inline v0::cuda::detail
