// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "cuda/chunk.cuh"
#include "cuda/norm.cuh"
#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/numbers.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

/// Products of a single row with a matrix; a decode step of one sequence consists of them. Their time is that of
/// reading the weights, so the kernels do two things: they begin to read before the row is known, while the previous
/// kernel ends, and they include the norm and the activation, which would otherwise be launches of their own.
namespace mini_llama::cuda {

/// What is done with a product.
enum class row_result {
  set,    ///< out = product
  add,    ///< out += product
  gated,  ///< out = gate / (1 + exp(-gate)) * up, of a matrix [2][n][k], gates first
};

namespace detail {

struct row_product_tuning {
  int warps = 16;  ///< of a block
  int blocks_per_multiprocessor = 2;
  int in_flight = 4;  ///< chunks of a row that a thread has in flight, while it works on as many
};
inline constexpr row_product_tuning row_product_tuned{};

template <class E, class Out>
struct row_product_problem {
  const E* in;        // [k]
  const float* gain;  // [k]: gain of the row's norm; null: no norm
  const E* weight;    // [n][k], or [2][n][k]
  Out* out;           // [n]
  kvsharer::index_t n;
  int chunks;  // of a row
  float eps;
};

/// Copies the row to shared memory, normed if `Normed`. The whole block calls this.
template <bool Normed, class E, class Out>
__device__ void stage_row(const row_product_problem<E, Out>& p, E* row) {
  using wide = kvsharer::cuda::numbers<E>;
  const int first = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  float scale = 1;
  if constexpr (Normed) {
    float sum = 0;
    for (int i = first; i < p.chunks; i += step) {
      const wide x = wide::load(p.in + i * wide::count);
#pragma unroll
      for (int j = 0; j < wide::count; ++j) sum += x.x[j] * x.x[j];
    }
    scale = rsqrtf(sum_block(sum) / static_cast<float>(p.chunks * wide::count) + p.eps);
  }
  for (int i = first; i < p.chunks; i += step) {
    wide x = wide::load(p.in + i * wide::count);
    if constexpr (Normed)
#pragma unroll
      for (int j = 0; j < wide::count; ++j) x.x[j] *= scale * p.gain[i * wide::count + j];
    x.store(row + i * wide::count);
  }
  __syncthreads();
}

/// The place of a warp: its row of the matrix, and how far in it.
struct row_cursor {
  kvsharer::index_t row;  // index in out
  int half = 0;           // 0: gates, or the only matrix; 1: up
  int step = 0;           // in the row

  template <bool Gated>
  __device__ void advance(int steps, int warps) {
    if (++step < steps) return;
    step = 0;
    if (Gated && half == 0) {
      half = 1;
    } else {
      half = 0;
      row += warps;
    }
  }
};

/// Grid: as many blocks as fit the device; they share the rows of the matrix evenly, and a warp has whole rows.
template <class E, class Out, bool Normed, row_result Result>
KVSHARER_HIDDEN __global__ void __launch_bounds__(row_product_tuned.warps * 32,
                                                  row_product_tuned.blocks_per_multiprocessor)
    row_product_kernel(const __grid_constant__ row_product_problem<E, Out> p) {
  using wide = kvsharer::cuda::numbers<E>;
  namespace ptx = kvsharer::cuda::ptx;
  constexpr int warps = row_product_tuned.warps, in_flight = row_product_tuned.in_flight;
  constexpr bool gated = Result == row_result::gated;
  constexpr float log2e = 1.44269504088896341f;
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const kvsharer::index_t end = (blockIdx.x + kvsharer::index_t{1}) * p.n / gridDim.x;
  const int steps = (p.chunks + 32 * in_flight - 1) / (32 * in_flight);
  const auto fetch = [&](const row_cursor& c, uint4(&to)[in_flight]) {
    const E* const from = p.weight + (c.half * p.n + c.row) * p.chunks * wide::count;
#pragma unroll
    for (int u = 0; u < in_flight; ++u)
      if (const int i = (c.step * in_flight + u) * 32 + lane; i < p.chunks)
        to[u] = ptx::load_stream_16(from + i * wide::count);
  };

  ptx::let_next_begin();
  row_cursor at{blockIdx.x * p.n / gridDim.x + warp}, ahead = at;
  uint4 next[in_flight];
  if (ahead.row < end) fetch(ahead, next);
  ptx::wait_for_previous();
  auto* const row = reinterpret_cast<E*>(ptx::dynamic_shared() + warps * sizeof(float));
  stage_row<Normed>(p, row);

  float sum = 0, gate = 0, before = 0;
  while (at.row < end) {
    uint4 now[in_flight];
#pragma unroll
    for (int u = 0; u < in_flight; ++u) now[u] = next[u];
    ahead.advance<gated>(steps, warps);
    if (ahead.row < end) fetch(ahead, next);
    if (Result == row_result::add && at.step == 0) before = ptx::to_float(p.out[at.row]);
#pragma unroll
    for (int u = 0; u < in_flight; ++u)
      if (const int i = (at.step * in_flight + u) * 32 + lane; i < p.chunks) {
        const wide w = wide::load(reinterpret_cast<const E*>(&now[u])), x = wide::load(row + i * wide::count);
#pragma unroll
        for (int j = 0; j < wide::count; ++j) sum += w.x[j] * x.x[j];
      }
    if (at.step + 1 == steps) {
#pragma unroll
      for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
      if (gated && at.half == 0)
        gate = sum;
      else if (lane == 0)
        p.out[at.row] = ptx::from_float<Out>(gated ? gate / (1.0f + ptx::exp2(-log2e * gate)) * sum : before + sum);
      sum = 0;
    }
    at.advance<gated>(steps, warps);
  }
}

template <bool Normed, row_result Result, class E, class Out>
void launch_row_product(const kvsharer::cuda::backend& on, const row_product_problem<E, Out>& p) {
  kvsharer::cuda::detail::launch(
      "the product of a row", on.stream,
      {dim3(static_cast<unsigned>(on.device.multiprocessors * row_product_tuned.blocks_per_multiprocessor)),
       row_product_tuned.warps * 32u,
       row_product_tuned.warps * sizeof(float) +
           static_cast<std::size_t>(p.chunks) * kvsharer::cuda::numbers<E>::count * sizeof(E),
       kvsharer::cuda::detail::order::overlaps},
      row_product_kernel<E, Out, Normed, Result>, p);
}

}  // namespace detail

/// Takes the product of in [k] with the transpose of weight [n][k] (two of them if gated), and does with it what
/// `Result` says, to out [n]. With `gain` [k] the row is first divided by the root of its mean square, multiplied by
/// gain, and rounded to E. Sums in float. Stream-ordered: neither allocates nor synchronises, and may be captured.
/// Throws kvsharer::error: bad_shape if k is not a whole number of 16 bytes, bad_argument for an address, cuda_call.
template <row_result Result, kvsharer::CacheElement E, kvsharer::CacheElement Out>
void row_product(const kvsharer::cuda::backend& on, const E* in, const float* gain, float eps, const E* weight,
                 Out* out, kvsharer::index_t n, kvsharer::index_t k) {
  require_chunks<E>(k, "a row to be multiplied");
  require_aligned(in, "a row to be multiplied");
  require_aligned(weight, "weights");
  if (n == 0) return;
  const detail::row_product_problem<E, Out> p{in, gain, weight, out, n, static_cast<int>(k / chunk_size<E>), eps};
  if (gain != nullptr)
    detail::launch_row_product<true, Result>(on, p);
  else
    detail::launch_row_product<false, Result>(on, p);
}

}  // namespace mini_llama::cuda
