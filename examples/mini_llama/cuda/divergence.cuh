// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/core/types.hpp"

namespace mini_llama::cuda {
namespace detail {

inline constexpr unsigned divergence_threads = 256, divergence_warps = divergence_threads / 32;

struct add_up {
  __device__ double operator()(double a, double b) const { return a + b; }
};
struct take_larger {
  __device__ float operator()(float a, float b) const { return a > b ? a : b; }
};

/// Joins x of all threads, for every thread of the block, always in the same order. Shared memory: a T per warp.
template <class Join, class T>
__device__ T join_block(T x) {
  auto* const of_warp = reinterpret_cast<T*>(kvsharer::cuda::ptx::dynamic_shared());
  for (int mask = 16; mask > 0; mask /= 2) x = Join{}(x, __shfl_xor_sync(0xffffffffu, x, mask));
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = x;
  __syncthreads();
  x = of_warp[0];
  for (unsigned w = 1; w < divergence_warps; ++w) x = Join{}(x, of_warp[w]);
  __syncthreads();
  return x;
}

/// log of the sum of exp of a row.
__device__ inline double log_normaliser(const float* row, kvsharer::index_t vocab) {
  float top = row[0];
  for (kvsharer::index_t i = threadIdx.x; i < vocab; i += divergence_threads) top = take_larger{}(top, row[i]);
  top = join_block<take_larger>(top);
  double sum = 0;
  for (kvsharer::index_t i = threadIdx.x; i < vocab; i += divergence_threads)
    sum += static_cast<double>(std::exp(row[i] - top));
  return static_cast<double>(top) + std::log(join_block<add_up>(sum));
}

/// Grid: rows.
[[maybe_unused]] static __global__ void __launch_bounds__(divergence_threads)
    divergence_kernel(const float* full, const float* shared, kvsharer::index_t vocab, double* out) {
  const float* const p = full + blockIdx.x * vocab;
  const float* const q = shared + blockIdx.x * vocab;
  const double log_p = log_normaliser(p, vocab), log_q = log_normaliser(q, vocab);
  const auto normaliser = static_cast<float>(log_p);
  double sum = 0;
  for (kvsharer::index_t i = threadIdx.x; i < vocab; i += divergence_threads)
    sum += static_cast<double>(std::exp(p[i] - normaliser) * (p[i] - q[i]));
  sum = join_block<add_up>(sum);
  if (threadIdx.x == 0) out[blockIdx.x] = sum - log_p + log_q;
}

}  // namespace detail

/// out [rows] = KL(full || shared) in nats of the distributions given by logits [rows][vocab], with sums in double; 0
/// for equal rows. A NaN in a row makes its result NaN. Stream-ordered: neither allocates nor synchronises, and may be
/// captured. Throws kvsharer::error (cuda_call). Rows are read three times, twice from the L2.
inline void divergences(const kvsharer::cuda::backend& on, const float* full, const float* shared,
                        kvsharer::index_t rows, kvsharer::index_t vocab, double* out) {
  if (rows == 0) return;
  kvsharer::cuda::detail::launch(
      "the divergence of predictions", on.stream,
      {dim3(static_cast<unsigned>(rows)), detail::divergence_threads, detail::divergence_warps * sizeof(double)},
      detail::divergence_kernel, full, shared, vocab, out);
}

}  // namespace mini_llama::cuda
