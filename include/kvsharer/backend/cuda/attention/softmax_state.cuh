// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "kvsharer/backend/cuda/ptx.cuh"

namespace kvsharer::inline v0::cuda::detail {

/// Minus infinity as kernels see it: no token seen yet.
inline constexpr float nothing_seen = -INFINITY;
/// The base of weights before a token was seen: below every score, and finite, so that its distances are numbers.
inline constexpr float no_base = -1e38f;

/// Softmax-weighted sums of 16 rows while tokens arrive, spread over a warp's lanes like warp_product's fragments.
/// Scores are in units of log2. Row 0 of a lane is row lane / 4 of the tile, row 1 the one 8 further down.
template <int HeadDim>
struct softmax_state {
  float largest[2];            ///< largest score so far
  float total[2];              ///< sum of the weights 2^(score - largest): this lane's part
  float sums[HeadDim / 8][4];  ///< sums of weight times value

  __device__ void init() {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      largest[row] = nothing_seen;
      total[row] = 0;
    }
#pragma unroll
    for (int d = 0; d < HeadDim / 8; ++d)
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[d][i] = 0;
  }

  /// Takes the scores of more tokens and turns them into weights; the caller adds the values by them. A row whose
  /// tokens are all hidden (minus infinity) gets weights of 0.
  template <int Fragments>
  __device__ void absorb(float (&s)[Fragments][4]) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      float most = largest[row];
#pragma unroll
      for (int j = 0; j < Fragments; ++j) most = fmaxf(most, fmaxf(s[j][2 * row], s[j][2 * row + 1]));
      most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
      most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
      const float base = most == nothing_seen ? 0.0f : most;
      const float fade = ptx::exp2(largest[row] - base);
      largest[row] = most;
      total[row] *= fade;
#pragma unroll
      for (int d = 0; d < HeadDim / 8; ++d) {
        sums[d][2 * row] *= fade;
        sums[d][2 * row + 1] *= fade;
      }
#pragma unroll
      for (int j = 0; j < Fragments; ++j)
#pragma unroll
        for (int i = 2 * row; i < 2 * row + 2; ++i) {
          s[j][i] = ptx::exp2(s[j][i] - base);
          total[row] += s[j][i];
        }
    }
  }

  /// Leaves sums, base and total of each of the first `rows` rows in joined[row * stride]: [HeadDim] numbers, then two
  /// (see decode_merge).
  __device__ void put(float* joined, int stride, int rows) {
    finish();
    const int g = static_cast<int>(threadIdx.x) % 32 / 4, q = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (g + 8 * half >= rows) continue;
      float* const row = joined + (g + 8 * half) * stride;
#pragma unroll
      for (int d = 0; d < HeadDim / 8; ++d)
        *reinterpret_cast<float2*>(row + 8 * d + 2 * q) = make_float2(sums[d][2 * half], sums[d][2 * half + 1]);
      if (q == 0)
        *reinterpret_cast<float2*>(row + HeadDim) =
            make_float2(largest[half] == nothing_seen ? no_base : largest[half], total[half]);
    }
  }

  /// Adds up the parts of `total` in the four lanes of a row. Called last.
  __device__ void finish() {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      total[row] += __shfl_xor_sync(0xffffffffu, total[row], 1);
      total[row] += __shfl_xor_sync(0xffffffffu, total[row], 2);
    }
  }
};

}  // namespace kvsharer::inline v0::cuda::detail
