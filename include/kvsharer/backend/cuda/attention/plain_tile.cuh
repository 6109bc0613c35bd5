// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kvsharer/backend/cuda/attention/column_state.cuh"
#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/warp_product.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/core/element.hpp"

namespace kvsharer::inline v0::cuda::detail {

/// A warp's tile of keys and values stored as 16-bit numbers, and its products; a codec that packs numbers would have
/// another class with these members. A tile lies in shared memory as in a page: row after row, without gaps. The order
/// of channels in a product, and of tokens, is free as long as both operands have the same, so lanes read whole pieces
/// of 16 bytes: of keys, pieces q, q + 4, ... of tokens g and g + 8; of values, piece g of each 64 channels of tokens 2
/// q, 2 q + 1, 2 q + 8 and 2 q + 9 (g = lane / 4, q = lane % 4).
template <CacheElement E, int HeadDim, int Rows>
class plain_tile {
  static_assert(sizeof(E) == 2 && HeadDim % 32 == 0 && Rows % 8 == 0);
  static constexpr int blocks = Rows / 8, wide = HeadDim / 64;  // columns by eight; pieces of 64 channels
  static constexpr bool narrow = HeadDim % 64 != 0;             // and 32 channels more

 public:
  static constexpr int head_dim = HeadDim;
  static constexpr int rows = Rows;           ///< packed rows of a tile: the columns of its products
  static constexpr int tokens = warp_tokens;  ///< of a tile
  static constexpr int run_tokens = 8;        ///< what lies without gaps in every page
  static constexpr int token_bytes = HeadDim * static_cast<int>(sizeof(E));

  /// The packed rows of queries of an item, as operands.
  class queries {
   public:
    /// Plain loads: the kernel before may have written the queries, so they must stay behind the wait for it.
    template <class Problem>
    __device__ queries(const Problem& p, const sequence_rows& s, const row_tile& at) {
      const index_t packed_rows = s.rows * p.group;
#pragma unroll
      for (int b = 0; b < blocks; ++b) {
        const index_t packed = at.begin + 8 * b + lane_id() / 4;
        const E* const row = p.queries + packed_offset(p, s, at.head, packed < packed_rows ? packed : 0) * HeadDim;
#pragma unroll
        for (int i = 0; i < HeadDim / 32; ++i) {
          uint4 x = make_uint4(0, 0, 0, 0);
          if (packed < packed_rows) x = reinterpret_cast<const uint4*>(row)[lane_id() % 4 + 4 * i];
          words_[b][4 * i] = x.x;
          words_[b][4 * i + 1] = x.y;
          words_[b][4 * i + 2] = x.z;
          words_[b][4 * i + 3] = x.w;
        }
      }
    }

   private:
    friend class plain_tile;
    std::uint32_t words_[blocks][HeadDim / 8];
  };

  /// The sums of an item's part. Fragment 4 w + e has channels 64 w + 8 g + e (numbers 0, 1) and 4 more (2, 3); the
  /// last two of 96 channels have 64 + 4 g + e and 2 more.
  struct state {
    column_state<HeadDim / 16> of[blocks];

    __device__ void init() {
#pragma unroll
      for (int b = 0; b < blocks; ++b) of[b].init();
    }
    /// Leaves sums, base and total of each of the first `used` rows in joined[row * stride]: [HeadDim] numbers, then
    /// two.
    __device__ void put(float* joined, int stride, int used) {
      const int g = lane_id() / 4, q = lane_id() % 4;
#pragma unroll
      for (int b = 0; b < blocks; ++b) {
        of[b].finish();
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (8 * b + 2 * q + i >= used) continue;
          float* const row = joined + (8 * b + 2 * q + i) * stride;
          const auto& sums = of[b].sums;
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int n = 2 * half + i;
#pragma unroll
            for (int w = 0; w < wide; ++w)
              *reinterpret_cast<float4*>(row + 64 * w + 8 * g + 4 * half) =
                  make_float4(sums[4 * w][n], sums[4 * w + 1][n], sums[4 * w + 2][n], sums[4 * w + 3][n]);
            if constexpr (narrow)
              *reinterpret_cast<float2*>(row + 64 * wide + 4 * g + 2 * half) =
                  make_float2(sums[4 * wide][n], sums[4 * wide + 1][n]);
          }
          if (g == 0) *reinterpret_cast<float2*>(row + HeadDim) = make_float2(of[b].base[i], of[b].total[i]);
        }
      }
    }
  };

  /// Takes one tile: the tokens [first, first + tokens), of which those in [seen, end) exist.
  template <class Limits>
  __device__ static void consume(const queries& asked, const Limits& limits, int first, int seen, int end,
                                 const std::byte* keys, std::byte* values, state& mine) {
    float scores[blocks][1][4] = {};
    multiply_keys(asked, keys, scores);
    if (first < seen || first + tokens > end) clear(values, seen - first, end - first);
    std::uint32_t weights[blocks][2];
#pragma unroll
    for (int b = 0; b < blocks; ++b) {
      limits.scale_and_hide(8 * b, first, end, scores[b]);
      mine.of[b].absorb(scores[b]);
      const auto& s = scores[b][0];
      weights[b][0] = ptx::transpose(ptx::pack<E>(s[0], s[1]));
      weights[b][1] = ptx::transpose(ptx::pack<E>(s[2], s[3]));
    }
    multiply_values(weights, values, mine);
  }

 private:
  /// Two chains of sums for each eight columns, so that products need not wait for each other.
  __device__ static void multiply_keys(const queries& asked, const std::byte* keys, float (&scores)[blocks][1][4]) {
    const std::byte* const row = keys + lane_id() / 4 * token_bytes + lane_id() % 4 * 16;
    float second[blocks][4] = {};
#pragma unroll
    for (int i = 0; i < HeadDim / 32; ++i) {
      const uint4 x = *reinterpret_cast<const uint4*>(row + 64 * i);
      const uint4 y = *reinterpret_cast<const uint4*>(row + 8 * token_bytes + 64 * i);
      const std::uint32_t low[4] = {x.x, y.x, x.y, y.y}, high[4] = {x.z, y.z, x.w, y.w};
#pragma unroll
      for (int b = 0; b < blocks; ++b) {
        const std::uint32_t* const query = asked.words_[b] + 4 * i;
        ptx::multiply_add<E>(scores[b][0], low, query[0], query[1]);
        ptx::multiply_add<E>(second[b], high, query[2], query[3]);
      }
    }
#pragma unroll
    for (int b = 0; b < blocks; ++b)
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[b][0][i] += second[b][i];
  }

  /// Sums += values, transposed (channels x tokens), times weights (tokens x columns).
  __device__ static void multiply_values(const std::uint32_t (&weights)[blocks][2], const std::byte* values,
                                         state& mine) {
    const int g = lane_id() / 4, q = lane_id() % 4;
    const std::byte* row[4];  // of tokens 2 q, 2 q + 1, 2 q + 8, 2 q + 9
#pragma unroll
    for (int t = 0; t < 4; ++t) row[t] = values + (2 * q + t % 2 + 8 * (t / 2)) * token_bytes;
#pragma unroll
    for (int w = 0; w < wide; ++w) {
      std::uint32_t x[4][4];
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        const uint4 piece = *reinterpret_cast<const uint4*>(row[t] + 128 * w + 16 * g);
        x[t][0] = piece.x;
        x[t][1] = piece.y;
        x[t][2] = piece.z;
        x[t][3] = piece.w;
      }
#pragma unroll
      for (int e = 0; e < 4; ++e) multiply_channel<2>(weights, x, e, mine, 4 * w + e);
    }
    if constexpr (narrow) {
      std::uint32_t x[4][2];
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        const uint2 piece = *reinterpret_cast<const uint2*>(row[t] + 128 * wide + 8 * g);
        x[t][0] = piece.x;
        x[t][1] = piece.y;
      }
#pragma unroll
      for (int e = 0; e < 2; ++e) multiply_channel<1>(weights, x, e, mine, 4 * wide + e);
    }
  }

  /// One product: channel e of the tokens' pieces, and the one Apart words further.
  template <int Apart>
  __device__ static void multiply_channel(const std::uint32_t (&weights)[blocks][2],
                                          const std::uint32_t (&x)[4][2 * Apart], int e, state& mine, int fragment) {
    const int word = e / 2;
    const unsigned half = e % 2 == 0 ? 0x5410 : 0x7632;  // the low or the high half of two words
    const std::uint32_t a[4] = {
        __byte_perm(x[0][word], x[1][word], half), __byte_perm(x[0][word + Apart], x[1][word + Apart], half),
        __byte_perm(x[2][word], x[3][word], half), __byte_perm(x[2][word + Apart], x[3][word + Apart], half)};
#pragma unroll
    for (int b = 0; b < blocks; ++b) ptx::multiply_add<E>(mine.of[b].sums[fragment], a, weights[b][0], weights[b][1]);
  }

  /// Makes the values of tokens outside [begin, end) zeros: their weights are 0, and 0 times NaN would be NaN.
  __device__ static void clear(std::byte* values, int begin, int end) {
    constexpr int pieces = token_bytes / 16;
    for (int i = lane_id(); i < tokens * pieces; i += 32)
      if (const int token = i / pieces; token < begin || token >= end)
        reinterpret_cast<uint4*>(values)[i] = make_uint4(0, 0, 0, 0);
    ptx::fence_async_proxy();
    __syncwarp();
  }
};

}  // namespace kvsharer::inline v0::cuda::detail
