// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

namespace mini_llama::cuda {
namespace detail {

inline constexpr unsigned bias_threads = 256;

/// Grid: rows.
template <class E>
KVSHARER_HIDDEN __global__ void __launch_bounds__(bias_threads) bias_kernel(E* x, const float* bias, int width) {
  E* const row = x + static_cast<kvsharer::index_t>(blockIdx.x) * width;
  for (int i = static_cast<int>(threadIdx.x); i < width; i += static_cast<int>(blockDim.x))
    row[i] = kvsharer::cuda::ptx::from_float<E>(kvsharer::cuda::ptx::to_float(row[i]) + bias[i]);
}

}  // namespace detail

/// x [rows][width] += bias [width], rounded to E; does nothing if `bias` is null. Stream-ordered: neither allocates nor
/// synchronises, and may be captured. Throws kvsharer::error (cuda_call).
template <kvsharer::CacheElement E>
void add_bias(const kvsharer::cuda::backend& on, const float* bias, kvsharer::index_t rows, kvsharer::index_t width,
              E* x) {
  if (bias == nullptr || rows == 0) return;
  kvsharer::cuda::detail::launch("a bias", on.stream, {dim3(static_cast<unsigned>(rows)), detail::bias_threads},
                                 detail::bias_kernel<E>, x, bias, static_cast<int>(width));
}

}  // namespace mini_llama::cuda
