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

inline constexpr unsigned swiglu_threads = 256;

/// Grid: rows times the blocks that a row takes.
template <class E>
KVSHARER_HIDDEN __global__ void __launch_bounds__(swiglu_threads)
    swiglu_kernel(const E* gate_up, int chunks, unsigned blocks_per_row, E* out) {
  const kvsharer::index_t row = blockIdx.x / blocks_per_row;
  const int i = static_cast<int>(blockIdx.x % blocks_per_row * blockDim.x + threadIdx.x);
  if (i >= chunks) return;
  constexpr float log2e = 1.44269504088896341f;
  const kvsharer::index_t width = static_cast<kvsharer::index_t>(chunks) * chunk_size<E>;
  const kvsharer::index_t column = static_cast<kvsharer::index_t>(i) * chunk_size<E>;
  const E* const gates = gate_up + 2 * row * width + column;
  numbers<E> gate = numbers<E>::load(gates);
  const numbers<E> up = numbers<E>::load(gates + width);
#pragma unroll
  for (int j = 0; j < chunk_size<E>; ++j)
    gate.x[j] = gate.x[j] / (1.0f + kvsharer::cuda::ptx::exp2(-log2e * gate.x[j])) * up.x[j];
  gate.store(out + row * width + column);
}

}  // namespace detail

/// out [rows][width] = gate / (1 + exp(-gate)) * up of gate_up [rows][2][width], gates first, as in the product with
/// the fused weights. Stream-ordered: neither allocates nor synchronises, and may be captured. Throws kvsharer::error
/// (bad_shape, bad_argument, cuda_call).
template <kvsharer::CacheElement E>
void swiglu(const kvsharer::cuda::backend& on, const E* gate_up, kvsharer::index_t rows, kvsharer::index_t width,
            E* out) {
  require_chunks<E>(width, "a row of gates");
  require_aligned(gate_up, "gates");
  require_aligned(out, "gated rows");
  if (rows == 0) return;
  const kvsharer::index_t chunks = width / chunk_size<E>;
  const unsigned threads = block_threads(chunks, detail::swiglu_threads);
  const auto blocks = static_cast<unsigned>((chunks + threads - 1) / threads);
  kvsharer::cuda::detail::launch("SwiGLU", on.stream, {dim3(static_cast<unsigned>(rows) * blocks), threads},
                                 detail::swiglu_kernel<E>, gate_up, static_cast<int>(chunks), blocks, out);
}

}  // namespace mini_llama::cuda
