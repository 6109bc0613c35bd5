// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

/// The work that some families do on queries, keys and values between projection and rotation.
namespace mini_llama::cuda {

/// Heads of rows, with their bias and norm. Without rows, or without both bias and gain, nothing is done.
template <class E>
struct unfinished_heads {
  E* rows = nullptr;             // [rows][stride]; the first heads * head_dim numbers of each row are heads
  kvsharer::index_t stride = 0;  // from row to row
  int heads = 0;
  const float* bias = nullptr;  // [heads * head_dim], or null
  const float* gain = nullptr;  // [head_dim]: gain of each head's norm, or null
};

namespace detail {

inline constexpr unsigned finish_warps = 4;
inline constexpr std::size_t finish_parts = 3;  // queries, keys and values

template <class E>
struct finish_problem {
  unfinished_heads<E> part[finish_parts];
  int heads;  // of all parts
  int head_dim;
  float eps;
};

/// Grid: rows, heads by warps of a block. A warp has one head, and each lane every 32nd channel.
template <class E>
KVSHARER_HIDDEN __global__ void __launch_bounds__(32 * finish_warps)
    finish_kernel(const __grid_constant__ finish_problem<E> p) {
  namespace ptx = kvsharer::cuda::ptx;
  int head = static_cast<int>(blockIdx.y * finish_warps + threadIdx.x / 32);
  if (head >= p.heads) return;
  int which = 0;
  while (head >= p.part[which].heads) head -= p.part[which++].heads;
  const unfinished_heads<E>& of = p.part[which];
  E* const at = of.rows + static_cast<kvsharer::index_t>(blockIdx.x) * of.stride + head * p.head_dim;
  const float* const bias = of.bias == nullptr ? nullptr : of.bias + head * p.head_dim;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const auto biased = [&](int i) { return ptx::to_float(at[i]) + (bias == nullptr ? 0.0f : bias[i]); };
  float scale = 1;
  if (of.gain != nullptr) {
    float sum = 0;
    for (int i = lane; i < p.head_dim; i += 32) sum += biased(i) * biased(i);
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
    scale = rsqrtf(sum / static_cast<float>(p.head_dim) + p.eps);
  }
  for (int i = lane; i < p.head_dim; i += 32)
    at[i] = ptx::from_float<E>(of.gain == nullptr ? biased(i) : biased(i) * scale * of.gain[i]);
}

}  // namespace detail

/// Adds the bias to each row's heads and then norms each head, x / sqrt(mean of x^2 + eps) * gain, in place, for up to
/// three parts at once, whose number is a template argument; sums in float, rounded to E once. Parts without bias and
/// gain cost nothing, nor does a call with only such parts. Stream-ordered: neither allocates nor synchronises, and may
/// be captured. Throws kvsharer::error (cuda_call).
template <kvsharer::CacheElement E, std::size_t N>
void finish_heads(const kvsharer::cuda::backend& on, const unfinished_heads<E> (&parts)[N], kvsharer::index_t rows,
                  kvsharer::index_t head_dim, float eps) {
  static_assert(N <= detail::finish_parts, "queries, keys and values are all that a row has");
  detail::finish_problem<E> p{{}, 0, static_cast<int>(head_dim), eps};
  int count = 0;
  for (const unfinished_heads<E>& part : parts) {
    if (part.rows == nullptr || (part.bias == nullptr && part.gain == nullptr)) continue;
    p.part[count++] = part;
    p.heads += part.heads;
  }
  if (p.heads == 0 || rows == 0) return;
  const unsigned blocks = (static_cast<unsigned>(p.heads) + detail::finish_warps - 1) / detail::finish_warps;
  kvsharer::cuda::detail::launch("biases and norms of heads", on.stream,
                                 {dim3(static_cast<unsigned>(rows), blocks), 32 * detail::finish_warps},
                                 detail::finish_kernel<E>, p);
}

}  // namespace mini_llama::cuda
