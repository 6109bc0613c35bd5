// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>
#include <cub/warp/warp_reduce.cuh>

#include <cstdint>
#include <limits>
#include <string>

#include "cuda/chunk.cuh"
#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/types.hpp"

namespace mini_llama::cuda {
namespace detail {

/// One block reads a row: the largest in use, 512 KB, takes some microseconds, and needs no second pass.
struct argmax_tuning {
  unsigned threads = 1024;
  int in_flight = 2;  ///< chunks that a thread has in flight at once
};
inline constexpr argmax_tuning argmax_tuned{};

inline constexpr float infinity = std::numeric_limits<float>::infinity();
inline constexpr std::int32_t no_id = std::numeric_limits<std::int32_t>::max();

/// The largest number so far, the first of equal ones. NaN counts as infinity in front of the first number.
struct best_number {
  float value = -infinity;
  std::int32_t id = no_id;

  __device__ void take(float x, std::int32_t at) {
    if (kvsharer::is_nan(x)) {
      x = infinity;
      at = -1;
    }
    if (x > value || (x == value && at < id)) {
      value = x;
      id = at;
    }
  }
};

/// The better of two. The result does not depend on the order in which many are joined.
struct better_number {
  __device__ best_number operator()(best_number a, const best_number& b) const {
    a.take(b.value, b.id);
    return a;
  }
};

/// The best of a whole warp; lane 0 gets the result.
__device__ inline best_number best_of_warp(const best_number& mine) {
  using reduce = cub::WarpReduce<best_number>;
  typename reduce::TempStorage none;  // empty: 32 lanes shuffle
  return reduce(none).Reduce(mine, better_number{});
}

template <class E>
__device__ best_number best_of_thread(const E* row, kvsharer::index_t vocab) {
  constexpr int in_flight = argmax_tuned.in_flight, size = chunk_size<E>;
  const kvsharer::index_t step = blockDim.x;
  // If the vocabulary is not a whole number of chunks, rows may begin anywhere.
  const kvsharer::index_t chunks = reinterpret_cast<std::uintptr_t>(row) % 16 == 0 ? vocab / size : 0;
  best_number best;
  for (kvsharer::index_t i = threadIdx.x; i < chunks; i += in_flight * step) {
    numbers<E> c[in_flight];
#pragma unroll
    for (int j = 0; j < in_flight; ++j)
      if (i + j * step < chunks) c[j] = numbers<E>::load(row + (i + j * step) * size);
#pragma unroll
    for (int j = 0; j < in_flight; ++j)
      if (i + j * step < chunks)
#pragma unroll
        for (int k = 0; k < size; ++k) best.take(c[j].x[k], static_cast<std::int32_t>((i + j * step) * size + k));
  }
  for (kvsharer::index_t i = chunks * size + threadIdx.x; i < vocab; i += step)
    best.take(kvsharer::cuda::ptx::to_float(row[i]), static_cast<std::int32_t>(i));
  return best;
}

/// Grid: rows. Shared memory: a best_number for each warp.
template <class E>
KVSHARER_HIDDEN __global__ void __launch_bounds__(argmax_tuned.threads)
    argmax_kernel(const E* logits, kvsharer::index_t vocab, std::int32_t* ids) {
  const kvsharer::index_t row = blockIdx.x;
  auto* const of_warp = reinterpret_cast<best_number*>(kvsharer::cuda::ptx::dynamic_shared());
  const best_number mine = best_of_warp(best_of_thread(logits + row * vocab, vocab));
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = mine;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  const best_number best =
      best_of_warp(threadIdx.x < blockDim.x / 32 ? of_warp[static_cast<unsigned>(threadIdx.x)] : best_number{});
  const bool finite = kvsharer::is_finite(best.value);
  if (threadIdx.x == 0) ids[row] = finite ? best.id : -1;
}

}  // namespace detail

/// ids [rows] = the index of the largest number in each row of logits [rows][vocab], the lowest of equal ones. -1 for a
/// row that holds NaN or whose largest number is infinite, which sampler refuses; embed reports such an id as a bad
/// token. Stream-ordered: neither allocates nor synchronises, and may be captured. Throws kvsharer::error (bad_shape,
/// cuda_call).
template <kvsharer::CacheElement E>
void argmax(const kvsharer::cuda::backend& on, const E* logits, kvsharer::index_t rows, kvsharer::index_t vocab,
            std::int32_t* ids) {
  if (vocab < 1 || vocab >= detail::no_id)
    throw kvsharer::error(kvsharer::errc::bad_shape,
                          "the largest of " + std::to_string(vocab) + " logits cannot be named by a token id");
  if (rows == 0) return;
  const unsigned threads = block_threads((vocab + chunk_size<E> - 1) / chunk_size<E>, detail::argmax_tuned.threads);
  kvsharer::cuda::detail::launch(
      "the choice of tokens", on.stream,
      {dim3(static_cast<unsigned>(rows)), threads, threads / 32 * sizeof(detail::best_number)},
      detail::argmax_kernel<E>, logits, vocab, ids);
}

}  // namespace mini_llama::cuda
