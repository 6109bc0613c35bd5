// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/softmax_state.cuh"
#include "kvsharer/backend/cuda/attention/tuning.hpp"
#include "kvsharer/backend/cuda/attention/warp_product.cuh"
#include "kvsharer/backend/cuda/attention/wide_order.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda::detail {

/// What the 16 rows of a warp may see. A lane has the rows g and g + 8 of them, g = lane / 4.
struct wide_limits {
  int all_see;     ///< end of the tokens that the first row sees: the others see at least as far
  int end;         ///< end of the tokens that there are
  int window;      ///< how many tokens before its end a row sees
  int visible[2];  ///< end of the tokens that the lane's rows see

  /// `begin`: the warp's first packed row.
  __device__ wide_limits(const wide_item& item, int begin, int group, int tokens)
      : all_see(item.visible(begin, group)), end(item.end), window(tokens) {
#pragma unroll
    for (int half = 0; half < 2; ++half) visible[half] = item.visible(begin + lane_id() / 4 + 8 * half, group);
  }

  /// Hides what a row must not see from the scores of tokens from `first` on.
  template <int Fragments>
  __device__ __forceinline__ void hide(int first, float (&scores)[Fragments][4]) const {
    // The warp's last row is at most 15 tokens after its first, and so is the beginning of its window.
    const int tile_end = first + 8 * Fragments;
    if (tile_end <= all_see && tile_end <= end && all_see - first <= window - (warp_rows - 1)) return;
    const int lane_first = first + lane_id() % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int begin = visible[half] - window - lane_first;
      const int stop = (visible[half] < end ? visible[half] : end) - lane_first;
#pragma unroll
      for (int j = 0; j < Fragments; ++j)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          if (8 * j + i >= stop || 8 * j + i < begin) scores[j][2 * half + i] = nothing_seen;
    }
  }
};

/// The softmax of 16 rows while tokens arrive, without the sums of values, which a product may be adding to meanwhile.
struct wide_softmax {
  float largest[2] = {nothing_seen, nothing_seen};  ///< largest score so far
  float base[2] = {nothing_seen, nothing_seen};     ///< the same, scaled
  float total[2] = {0, 0};                          ///< sum of the weights: this lane's part

  /// Takes the scores of more tokens and turns them into weights 2^(scale * score - base); `fade` is what weights so
  /// far, and sums by them, shrink by: exactly 1 where no score is larger than before. A row whose tokens are all
  /// hidden gets weights of 0. Precondition: scale > 0.
  template <int Fragments>
  __device__ __forceinline__ void absorb(float (&s)[Fragments][4], float scale, float (&fade)[2]) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      float most = largest[row];
#pragma unroll
      for (int j = 0; j < Fragments; ++j) most = fmaxf(most, fmaxf(s[j][2 * row], s[j][2 * row + 1]));
      most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
      most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
      const float scaled = most * scale, subtracted = most == nothing_seen ? 0.0f : scaled;
      fade[row] = ptx::exp2(base[row] - subtracted);
      largest[row] = most;
      base[row] = scaled;
      float sums[2] = {total[row] * fade[row], 0};
#pragma unroll
      for (int j = 0; j < Fragments; ++j)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& x = s[j][2 * row + i];
          x = ptx::exp2(fmaf(x, scale, -subtracted));
          sums[i] += x;
        }
      total[row] = sums[0] + sums[1];
    }
  }

  /// Adds up the parts of `total` in the four lanes of a row. Called last.
  __device__ __forceinline__ void finish() {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      total[row] += __shfl_xor_sync(0xffffffffu, total[row], 1);
      total[row] += __shfl_xor_sync(0xffffffffu, total[row], 2);
    }
  }
};

/// The weights of tokens, rounded, as the operand of a product: [16 tokens][4].
template <class E, int Fragments>
__device__ __forceinline__ void pack_weights(const float (&s)[Fragments][4], std::uint32_t (&w)[Fragments / 2][4]) {
#pragma unroll
  for (int j = 0; j < Fragments; j += 2) {
    w[j / 2][0] = ptx::pack<E>(s[j][0], s[j][1]);
    w[j / 2][1] = ptx::pack<E>(s[j][2], s[j][3]);
    w[j / 2][2] = ptx::pack<E>(s[j + 1][0], s[j + 1][1]);
    w[j / 2][3] = ptx::pack<E>(s[j + 1][2], s[j + 1][3]);
  }
}

}  // namespace kvsharer::inline v0::cuda::detail
