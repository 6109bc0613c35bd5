// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"
#include "network/random_weights.hpp"

/// Kernels that write many numbers by a rule, with any grid.
namespace mini_llama::cuda {
namespace detail {

struct fill_tuning {
  unsigned threads = 256;
  kvsharer::index_t numbers_per_thread = 16;
  kvsharer::index_t most_blocks = 1 << 20;

  kvsharer::cuda::detail::launch_shape shape(kvsharer::index_t n) const {
    const kvsharer::index_t per_block = threads * numbers_per_thread;
    return {dim3(static_cast<unsigned>(std::min((n + per_block - 1) / per_block, most_blocks))), threads};
  }
};
inline constexpr fill_tuning fill_tuned{};

/// Writes rule(i) for every i in [0, n), with a grid of any size.
template <class Rule>
__device__ void for_all(kvsharer::index_t n, Rule&& rule) {
  const kvsharer::index_t step = static_cast<kvsharer::index_t>(gridDim.x) * blockDim.x;
  for (kvsharer::index_t i = static_cast<kvsharer::index_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step)
    rule(i);
}

template <class E>
KVSHARER_HIDDEN __global__ void __launch_bounds__(fill_tuned.threads)
    random_kernel(E* to, kvsharer::index_t n, std::uint64_t key, float deviation) {
  for_all(n,
          [=](kvsharer::index_t i) { to[i] = kvsharer::cuda::ptx::from_float<E>(random_weight(key, i, deviation)); });
}

template <class E>
KVSHARER_HIDDEN __global__ void __launch_bounds__(fill_tuned.threads)
    constant_kernel(E* to, kvsharer::index_t n, float value) {
  for_all(n, [=](kvsharer::index_t i) { to[i] = kvsharer::cuda::ptx::from_float<E>(value); });
}

template <class From, class To>
KVSHARER_HIDDEN __global__ void __launch_bounds__(fill_tuned.threads)
    convert_kernel(const From* from, To* to, kvsharer::index_t n) {
  for_all(n, [=](kvsharer::index_t i) {
    to[i] = kvsharer::cuda::ptx::from_float<To>(kvsharer::cuda::ptx::to_float(from[i]));
  });
}

}  // namespace detail

/// to [n] = the random numbers of a tensor (random_weights.hpp), rounded. All three functions are stream-ordered.
template <kvsharer::CacheElement E>
void fill_random(kvsharer::cuda::stream_ref stream, E* to, kvsharer::index_t n, std::uint64_t key, float deviation) {
  if (n > 0)
    kvsharer::cuda::detail::launch("random weights", stream, detail::fill_tuned.shape(n), detail::random_kernel<E>, to,
                                   n, key, deviation);
}

/// to [n] = value, rounded.
template <kvsharer::CacheElement E>
void fill_constant(kvsharer::cuda::stream_ref stream, E* to, kvsharer::index_t n, float value) {
  if (n > 0)
    kvsharer::cuda::detail::launch("constant weights", stream, detail::fill_tuned.shape(n), detail::constant_kernel<E>,
                                   to, n, value);
}

/// to [n] = from [n], rounded.
template <kvsharer::CacheElement From, kvsharer::CacheElement To>
void convert(kvsharer::cuda::stream_ref stream, const From* from, To* to, kvsharer::index_t n) {
  if (n > 0)
    kvsharer::cuda::detail::launch("conversion", stream, detail::fill_tuned.shape(n), detail::convert_kernel<From, To>,
                                   from, to, n);
}

}  // namespace mini_llama::cuda
