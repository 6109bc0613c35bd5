// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/softmax_state.cuh"
#include "kvsharer/backend/cuda/attention/warp_product.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"

/// Attention with tokens as the rows of matrix products and packed rows of queries as their columns, eight of them at
/// once: a product of 16 tokens costs half as much as with the queries as rows, and fills more of its columns. With g =
/// lane / 4 and q = lane % 4, a lane has, of each fragment of 16 tokens, the scores of token g (numbers 0 and 1) and
/// token g + 8 (2 and 3) for columns 2 q and 2 q + 1.
namespace kvsharer::inline v0::cuda::detail {

/// What the columns of an item may see. Few tiles need to know it for each column, so it is found there and takes no
/// registers.
template <class Problem>
struct column_limits {
  const Problem& p;
  const sequence_rows& s;
  const row_tile& at;
  int all_see;  ///< end of the tokens that the first row sees: other rows see at least as far

  __device__ column_limits(const Problem& problem, const sequence_rows& of, const row_tile& tile)
      : p(problem), s(of), at(tile), all_see(static_cast<int>(of.visible(unpacked_row(problem, tile.begin).row))) {}

  /// Scales scores of tokens from `first` on for columns from `column` on, hides what a column's row must not see and
  /// tokens from `end` on, writes out chosen rows.
  template <int Fragments>
  __device__ void scale_and_hide(int column, int first, int end, float (&scores)[Fragments][4]) const {
#pragma unroll
    for (int j = 0; j < Fragments; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[j][i] *= p.scale;
    // The last row sees at most 15 tokens more than the first, and so begins its window.
    const int last = first + 16 * Fragments;
    if (last <= all_see && last <= end && all_see - first <= p.window - (warp_rows - 1) && p.extras.mass == nullptr)
      return;
    column += lane_id() % 4 * 2;
    const row_limits rows(p, s, at, column, column + 1);
#pragma unroll
    for (int j = 0; j < Fragments; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int token = first + 16 * j + lane_id() / 4 + 8 * (i / 2), visible = rows.visible[i % 2];
        if (token >= visible || token >= end || token < visible - rows.window)
          scores[j][i] = nothing_seen;
        else
          rows.capture(i % 2, token, scores[j][i]);
      }
  }
};

/// Softmax-weighted sums of eight columns while tokens arrive. Scores are in units of log2. Weights are relative to a
/// base that need not be the largest score: it is raised only when a score tops it by more than `slack`, so that sums
/// are seldom scaled. `Fragments` of sums: the codec's product says which channels a lane has.
template <int Fragments>
struct column_state {
  static constexpr float slack = 6;  ///< weights reach 2^slack, which any stored type can hold

  float base[2];             ///< of the lane's columns
  float total[2];            ///< sum of the weights: this lane's part
  float sums[Fragments][4];  ///< of weight times value; numbers 0 and 2 are of the first column

  __device__ void init() {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      base[i] = no_base;
      total[i] = 0;
    }
#pragma unroll
    for (int d = 0; d < Fragments; ++d)
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[d][i] = 0;
  }

  /// Takes the scores of more tokens and turns them into weights; hidden ones (minus infinity) get 0.
  template <int Tokens>
  __device__ void absorb(float (&s)[Tokens][4]) {
    float most[2] = {nothing_seen, nothing_seen};
#pragma unroll
    for (int j = 0; j < Tokens; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) most[i % 2] = fmaxf(most[i % 2], s[j][i]);
    if (__any_sync(0xffffffffu, most[0] > base[0] + slack || most[1] > base[1] + slack)) raise(most);
#pragma unroll
    for (int j = 0; j < Tokens; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        s[j][i] = ptx::exp2(s[j][i] - base[i % 2]);
        total[i % 2] += s[j][i];
      }
  }

  /// Adds up the parts of `total` in the eight lanes of a column. Called last.
  __device__ void finish() {
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int step = 4; step < 32; step *= 2) total[i] += __shfl_xor_sync(0xffffffffu, total[i], step);
  }

 private:
  __device__ void raise(float (&most)[2]) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int step = 4; step < 32; step *= 2) most[i] = fmaxf(most[i], __shfl_xor_sync(0xffffffffu, most[i], step));
      most[i] = fmaxf(most[i], base[i]);
      const float fade = ptx::exp2(base[i] - most[i]);
      base[i] = most[i];
      total[i] *= fade;
#pragma unroll
      for (int d = 0; d < Fragments; ++d) {
        sums[d][i] *= fade;
        sums[d][2 + i] *= fade;
      }
    }
  }
};

}  // namespace kvsharer::inline v0::cuda::detail
