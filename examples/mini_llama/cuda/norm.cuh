// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include "cuda/chunk.cuh"
#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

namespace mini_llama::cuda {
namespace detail {

/// A block has one row, and each thread holds its first chunks of it in registers; the rest of the longest rows is read
/// twice.
struct norm_tuning {
  unsigned most_threads = 512;
  int held = 2;
};
inline constexpr norm_tuning norm_tuned{};

/// The sum over the block, for every thread of it. Shared memory: one float per warp.
__device__ inline float sum_block(float x) {
  auto* const of_warp = reinterpret_cast<float*>(kvsharer::cuda::ptx::dynamic_shared());
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) x += __shfl_xor_sync(0xffffffffu, x, mask);
  if (lane == 0) of_warp[warp] = x;
  __syncthreads();
  x = lane < static_cast<int>(blockDim.x / 32) ? of_warp[lane] : 0.0f;
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) x += __shfl_xor_sync(0xffffffffu, x, mask);
  return x;
}

/// The arguments of norm_kernel.
template <class E>
struct norm_problem {
  E* x;               // [rows][width]; written if there is a `y`
  const E* y;         // [rows][width], or null
  const float* gain;  // [width]
  E* out;             // [rows][width], may be x
  int chunks;         // of a row
  float eps;
};

/// Reads a chunk of the row. If there is a y, adds it and stores the sum, rounded as by a product that accumulates, so
/// that both give the same result.
template <bool Add, class E>
__device__ numbers<E> read_sum(const norm_problem<E>& p, kvsharer::index_t at) {
  numbers<E> c = numbers<E>::load(p.x + at);
  if constexpr (Add) {
    const numbers<E> more = numbers<E>::load(p.y + at);
#pragma unroll
    for (int i = 0; i < chunk_size<E>; ++i)
      c.x[i] = kvsharer::cuda::ptx::to_float(kvsharer::cuda::ptx::from_float<E>(c.x[i] + more.x[i]));
    c.store(p.x + at);
  }
  return c;
}

template <class E>
__device__ float squares(const numbers<E>& c) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < chunk_size<E>; ++i) sum += c.x[i] * c.x[i];
  return sum;
}

/// Grid: rows.
template <class E, bool Add>
KVSHARER_HIDDEN __global__ void __launch_bounds__(norm_tuned.most_threads)
    norm_kernel(const __grid_constant__ norm_problem<E> p) {
  constexpr int held = norm_tuned.held, size = chunk_size<E>;
  const int first = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  const kvsharer::index_t row = static_cast<kvsharer::index_t>(blockIdx.x) * p.chunks * size;
  numbers<E> kept[held];
  float sum = 0;
#pragma unroll
  for (int h = 0; h < held; ++h)
    if (const int i = first + h * step; i < p.chunks) {
      kept[h] = read_sum<Add>(p, row + i * size);
      sum += squares(kept[h]);
    }
  for (int i = first + held * step; i < p.chunks; i += step) sum += squares(read_sum<Add>(p, row + i * size));

  const float scale = rsqrtf(sum_block(sum) / static_cast<float>(p.chunks * size) + p.eps);
  const auto write = [&](int i, numbers<E> c) {
#pragma unroll
    for (int j = 0; j < size; j += numbers<float>::count) {
      const auto gain = numbers<float>::load(p.gain + i * size + j);
#pragma unroll
      for (int k = 0; k < numbers<float>::count; ++k) c.x[j + k] *= scale * gain.x[k];
    }
    c.store(p.out + row + i * size);
  };
#pragma unroll
  for (int h = 0; h < held; ++h)
    if (const int i = first + h * step; i < p.chunks) write(i, kept[h]);
  for (int i = first + held * step; i < p.chunks; i += step) write(i, numbers<E>::load(p.x + row + i * size));
}

template <bool Add, class E>
void launch_norm(const kvsharer::cuda::backend& on, E* x, const E* y, const float* gain, float eps,
                 kvsharer::index_t rows, kvsharer::index_t width, E* out) {
  require_chunks<E>(width, "a row to be normed");
  require_aligned(x, "rows to be normed");
  require_aligned(gain, "a norm's gain");
  require_aligned(out, "normed rows");
  if (Add) require_aligned(y, "rows to be added");
  if (rows == 0) return;
  const auto chunks = static_cast<int>(width / chunk_size<E>);
  const unsigned threads = block_threads((chunks + norm_tuned.held - 1) / norm_tuned.held, norm_tuned.most_threads);
  kvsharer::cuda::detail::launch("an RMS norm", on.stream,
                                 {dim3(static_cast<unsigned>(rows)), threads, threads / 32 * sizeof(float)},
                                 norm_kernel<E, Add>, norm_problem<E>{x, y, gain, out, chunks, eps});
}

}  // namespace detail

/// out [rows][width] = x / sqrt(mean of x^2 + eps) * gain, with gain [width] in float; out may be x. Sums in float.
/// Stream-ordered: neither allocates nor synchronises, and may be captured. Throws kvsharer::error (bad_shape,
/// bad_argument, cuda_call).
template <kvsharer::CacheElement E>
void rms_norm(const kvsharer::cuda::backend& on, const E* x, const float* gain, float eps, kvsharer::index_t rows,
              kvsharer::index_t width, E* out) {
  detail::launch_norm<false>(on, const_cast<E*>(x), static_cast<const E*>(nullptr), gain, eps, rows, width, out);
}

/// x [rows][width] += y, rounded to E; out = x normed as above. Out may not be x.
template <kvsharer::CacheElement E>
void add_rms_norm(const kvsharer::cuda::backend& on, E* x, const E* y, const float* gain, float eps,
                  kvsharer::index_t rows, kvsharer::index_t width, E* out) {
  detail::launch_norm<true>(on, x, y, gain, eps, rows, width, out);
}

}  // namespace mini_llama::cuda
