// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kvsharer/backend/cuda/attention/tuning.hpp"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/core/element.hpp"

/// The two matrix products of attention, computed by one warp over tiles in shared memory with rows tile_stride apart.
///
/// Results are spread over lanes as fragments: with g = lane / 4 and q = lane % 4, numbers 0 and 1 of fragment j belong
/// to row g, columns 8 j + 2 q and the next; numbers 2 and 3 belong to row g + 8.
namespace kvsharer::inline v0::cuda::detail {

__device__ inline int lane_id() { return static_cast<int>(threadIdx.x % 32); }

template <CacheElement E, int HeadDim>
struct warp_product {
  static constexpr int stride = tile_stride(HeadDim, sizeof(E));
  static_assert(HeadDim % 16 == 0 && (stride * static_cast<int>(sizeof(E)) / 16) % 2 == 1, "rows would share banks");

  /// A warp's 16 rows of queries, held in registers if they fit.
  class queries {
   public:
    __device__ explicit queries(const E* tile) : row_(tile + lane_id() % 16 * stride + lane_id() / 16 * 8) {
#pragma unroll
      for (int d = 0; d < held; ++d) ptx::load_matrices(fragments_[d], row_ + 16 * d);
    }
    /// Channels [16 d, 16 d + 16).
    __device__ void get(int d, std::uint32_t (&a)[4]) const {
      if (d < held)
#pragma unroll
        for (int i = 0; i < 4; ++i) a[i] = fragments_[d < held ? d : 0][i];
      else
        ptx::load_matrices(a, row_ + 16 * d);
    }

   private:
    static constexpr int held = HeadDim <= 128 ? HeadDim / 16 : 1;
    const E* row_;
    std::uint32_t fragments_[held][4];
  };

  /// scores (16 x Tokens) = queries (16 x HeadDim) times keys (Tokens x HeadDim), transposed.
  template <int Tokens>
  __device__ static void scores(const queries& q, const E* keys, float (&s)[Tokens / 8][4]) {
    const int lane = lane_id();
    const E* const key_row = keys + (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 8;
#pragma unroll
    for (int j = 0; j < Tokens / 8; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) s[j][i] = 0;
#pragma unroll
    for (int d = 0; d < HeadDim; d += 16) {
      std::uint32_t a[4];
      q.get(d / 16, a);
#pragma unroll
      for (int j = 0; j < Tokens / 8; j += 2) {
        std::uint32_t b[4];
        ptx::load_matrices(b, key_row + j * 8 * stride + d);
        ptx::multiply_add<E>(s[j], a, b[0], b[1]);
        ptx::multiply_add<E>(s[j + 1], a, b[2], b[3]);
      }
    }
  }

  /// sums (16 x HeadDim) += weights (16 x Tokens) times values (Tokens x HeadDim).
  template <int Tokens>
  __device__ static void accumulate(const float (&p)[Tokens / 8][4], const E* values, float (&sums)[HeadDim / 8][4]) {
    const int lane = lane_id();
    const E* const value_row = values + lane % 16 * stride + lane / 16 * 8;
#pragma unroll
    for (int j = 0; j < Tokens / 8; j += 2) {
      const std::uint32_t a[4] = {ptx::pack<E>(p[j][0], p[j][1]), ptx::pack<E>(p[j][2], p[j][3]),
                                  ptx::pack<E>(p[j + 1][0], p[j + 1][1]), ptx::pack<E>(p[j + 1][2], p[j + 1][3])};
#pragma unroll
      for (int d = 0; d < HeadDim; d += 16) {
        std::uint32_t b[4];
        ptx::load_matrices_transposed(b, value_row + j * 8 * stride + d);
        ptx::multiply_add<E>(sums[d / 8], a, b[0], b[1]);
        ptx::multiply_add<E>(sums[d / 8 + 1], a, b[2], b[3]);
      }
    }
  }
};

/// The same in float, without matrix instructions: exact for float caches.
template <int HeadDim>
struct warp_product<float, HeadDim> {
  static constexpr int stride = tile_stride(HeadDim, sizeof(float));

  struct queries {
    const float* row;
    __device__ explicit queries(const float* tile) : row(tile + lane_id() / 4 * stride) {}
  };

  template <int Tokens>
  __device__ static void scores(const queries& q, const float* keys, float (&s)[Tokens / 8][4]) {
    const float* const query = q.row;
    for (int j = 0; j < Tokens / 8; ++j) {
      const float* const key = keys + (8 * j + lane_id() % 4 * 2) * stride;
      float sum[4] = {};
#pragma unroll 4
      for (int d = 0; d < HeadDim; ++d) {
        sum[0] += query[d] * key[d];
        sum[1] += query[d] * key[stride + d];
        sum[2] += query[8 * stride + d] * key[d];
        sum[3] += query[8 * stride + d] * key[stride + d];
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) s[j][i] = sum[i];
    }
  }

  template <int Tokens>
  __device__ static void accumulate(const float (&p)[Tokens / 8][4], const float* values,
                                    float (&sums)[HeadDim / 8][4]) {
    const int q = lane_id() % 4;
#pragma unroll
    for (int j = 0; j < Tokens / 8; ++j)
#pragma unroll
      for (int token = 0; token < 8; ++token) {
        // Of the four lanes that share a row, one holds the weight of a token.
        const float upper = __shfl_sync(0xffffffffu, p[j][token % 2], token / 2, 4);
        const float lower = __shfl_sync(0xffffffffu, p[j][2 + token % 2], token / 2, 4);
        const float* const value = values + (8 * j + token) * stride + 2 * q;
#pragma unroll
        for (int d = 0; d < HeadDim / 8; ++d) {
          const float a = value[8 * d], b = value[8 * d + 1];
          sums[d][0] += upper * a;
          sums[d][1] += upper * b;
          sums[d][2] += lower * a;
          sums[d][3] += lower * b;
        }
      }
  }
};

}  // namespace kvsharer::inline v0::cuda::detail
