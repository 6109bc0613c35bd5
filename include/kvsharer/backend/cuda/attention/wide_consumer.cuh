// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/softmax_state.cuh"
#include "kvsharer/backend/cuda/attention/wide_block.cuh"
#include "kvsharer/backend/cuda/attention/wide_order.cuh"
#include "kvsharer/backend/cuda/attention/wide_softmax.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/backend/cuda/ptx_hopper.cuh"

namespace kvsharer::inline v0::cuda::detail {

/// A warpgroup that multiplies: 64 rows of queries over the tokens that the block's rows see. While the softmax of one
/// tile is worked out, the values of the tile before are added up; and the warpgroups take turns to start products, so
/// that one's softmax falls into the other's products.
template <class Tuning, int HeadDim, class Problem>
class wide_consumer {
  using block = wide_block<Tuning, HeadDim>;
  using element = typename Problem::element;
  using key_tile = typename block::key_tile;
  using query_tile = typename block::query_tile;
  static constexpr wide_tuning tuning = Tuning::value;
  static constexpr int fragments = tuning.tokens / 8;

 public:
  /// `which` of the block's consumers.
  __device__ wide_consumer(const Problem& p, const block& b, int which) : p_(p), block_(b), which_(which) {
    if (which == tuning.consumers - 1) ptx::named_barrier_arrive(first_turn_barrier, 2 * warpgroup_threads);
  }

  __device__ void run() {
    for (int n = 0;; ++n) {
      ptx::barrier_wait_opaque(block_.shared.query_full, n & 1);
      const wide_item item = block_.shared.items[n % 2];
      if (item.head < 0) return;
      if (item.begin + which_ * warpgroup_rows < item.packed_rows)
        attend(item);
      else
        stand_by(item);
    }
  }

 private:
  __device__ __forceinline__ void attend(const wide_item& item) {
    const int tiles = tiles_of(item);
    const int begin = item.begin + which_ * warpgroup_rows + static_cast<int>(threadIdx.x) / 32 % 4 * warp_rows;
    const wide_limits limits(item, begin, p_.group, p_.window);
    wide_softmax softmax;
    float sums[HeadDim / 8][4];
#pragma unroll
    for (int d = 0; d < HeadDim / 8; ++d)
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[d][i] = 0;
    if (tiles == 0) release(block_.shared.query_empty);
    if (tiles > 0) {
      float scores[fragments][4], fade[2];
      std::uint32_t weights[fragments / 2][4];
      wait_for(block_.shared.key_full);
      ptx::fence_async_proxy();
      start_scores(scores);
      ptx::products_wait<0>(scores);
      release_keys(tiles == 1);
      limits.hide(item.first, scores);
      softmax.absorb(scores, p_.scale, fade);
      pack_weights<element>(scores, weights);
      wait_for(block_.shared.value_full);
      for (int t = 1; t < tiles; ++t) {
        const int before = at_.stage;
        at_.advance();
        wait_for(block_.shared.key_full);
        ptx::fence_async_proxy();
        take_turn();
        start_scores(scores);
        start_sums(sums, weights, before);
        pass_turn();
        ptx::products_wait<1>(scores);
        release_keys(t + 1 == tiles);
        limits.hide(item.first + t * tuning.tokens, scores);
        softmax.absorb(scores, p_.scale, fade);
        // Between the softmax and the wait for the sums: a branch, over which the compiler moves neither.
        wait_for(block_.shared.value_full);
        ptx::products_wait<0>(sums);
        release(block_.shared.value_empty[before]);
        if (__any_sync(0xffffffffu, fade[0] != 1.0f || fade[1] != 1.0f))
#pragma unroll
          for (int d = 0; d < HeadDim / 8; ++d)
#pragma unroll
            for (int i = 0; i < 4; ++i) sums[d][i] *= fade[i / 2];
        pack_weights<element>(scores, weights);
      }
      ptx::fence_async_proxy();
      start_sums(sums, weights, at_.stage);
      ptx::products_wait<0>(sums);
      release(block_.shared.value_empty[at_.stage]);
      at_.advance();
    }
    softmax.finish();
    write(item, begin, softmax, sums);
  }

  /// No row is this warpgroup's: lets the tiles pass.
  __device__ void stand_by(const wide_item& item) {
    release(block_.shared.query_empty);
    for (int t = 0; t < tiles_of(item); ++t, at_.advance()) {
      wait_for(block_.shared.key_full);
      release(block_.shared.key_empty[at_.stage]);
      if (t > 0) {
        take_turn();
        pass_turn();
      }
      wait_for(block_.shared.value_full);
      release(block_.shared.value_empty[at_.stage]);
    }
  }

  __device__ static int tiles_of(const wide_item& item) {
    return item.first < item.end ? (item.end - item.first + tuning.tokens - 1) / tuning.tokens : 0;
  }

  /// Waits for the tile of the ring at which the warpgroup stands.
  __device__ void wait_for(ptx::barrier (&full)[tuning.stages]) const {
    ptx::barrier_wait_opaque(full[at_.stage], at_.parity);
  }
  /// Called when the thread's products of a tile have ended, or it has only waited for the tile.
  __device__ static void release(ptx::barrier& empty) { ptx::barrier_arrive(empty); }
  __device__ void release_keys(bool last) const {
    release(block_.shared.key_empty[at_.stage]);
    if (last) release(block_.shared.query_empty);
  }

  /// Warpgroups start their products one after another, in a circle.
  __device__ void take_turn() const { ptx::named_barrier_wait(first_turn_barrier + which_, 2 * warpgroup_threads); }
  __device__ void pass_turn() const {
    const int next = which_ + 1 < tuning.consumers ? which_ + 1 : 0;
    ptx::named_barrier_arrive(first_turn_barrier + next, 2 * warpgroup_threads);
  }

  /// scores (64 x tokens) = queries (64 x HeadDim) times keys, transposed.
  __device__ __forceinline__ void start_scores(float (&scores)[fragments][4]) const {
    const std::uint64_t queries = query_tile::rows(ptx::shared_address(block_.queries()), which_ * warpgroup_rows);
    const std::uint64_t keys = key_tile::rows(ptx::shared_address(block_.keys(at_.stage)), 0);
    ptx::products_begin(scores);
#pragma unroll
    for (int d = 0; d < HeadDim / 16; ++d)
      ptx::warpgroup_multiply<element>(scores, query_tile::channels_16(queries, d), key_tile::channels_16(keys, d),
                                       d > 0);
    ptx::products_commit();
  }

  /// sums (64 x HeadDim) += weights (64 x tokens) times values.
  __device__ __forceinline__ void start_sums(float (&sums)[HeadDim / 8][4],
                                             const std::uint32_t (&weights)[fragments / 2][4], int stage) const {
    const std::uint64_t values = key_tile::columns(ptx::shared_address(block_.values(stage)));
    ptx::products_begin(sums);
#pragma unroll
    for (int t = 0; t < fragments / 2; ++t)
      ptx::warpgroup_multiply_add<element>(sums, weights[t], key_tile::rows_16(values, t));
    ptx::products_commit();
  }

  /// Each lane writes whole pieces of 16 bytes: the four lanes of a row exchange pairs of channels.
  __device__ __forceinline__ void write(const wide_item& item, int begin, const wide_softmax& softmax,
                                        const float (&sums)[HeadDim / 8][4]) const {
    constexpr float ln2 = 0.693147180559945309f;
    const int q = lane_id() % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int packed = begin + lane_id() / 4 + 8 * half, row = packed / p_.group;
      const int head = item.head * p_.group + packed - row * p_.group;
      const index_t offset = index_t{item.first_row + row} * (p_.kv_heads * p_.group) + head;
      const bool somebody = packed < item.packed_rows;
      const float total = softmax.total[half], inverse = total > 0 ? 1.0f / total : 0.0f;
      element* const to = p_.out + offset * HeadDim + 8 * q;
#pragma unroll
      for (int d = 0; d < HeadDim / 8; d += 4) {
        std::uint32_t pairs[4];
#pragma unroll
        for (int i = 0; i < 4; ++i)
          pairs[i] = ptx::pack<element>(sums[d + i][2 * half] * inverse, sums[d + i][2 * half + 1] * inverse);
        transpose_of_four(pairs, q);
        if (somebody) *reinterpret_cast<uint4*>(to + 8 * d) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
      }
      if (somebody && q == 0 && p_.extras.lse != nullptr)
        p_.extras.lse[offset] = total > 0 ? (softmax.base[half] + log2f(total)) * ln2 : nothing_seen;
    }
  }

  /// Lane q of four gets number q of lane i as its number i.
  __device__ __forceinline__ static void transpose_of_four(std::uint32_t (&x)[4], int q) {
#pragma unroll
    for (int apart = 1; apart <= 2; apart *= 2)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if ((i & apart) == 0) {
          const bool upper = (q & apart) != 0;
          const std::uint32_t got = __shfl_xor_sync(0xffffffffu, upper ? x[i] : x[i + apart], apart);
          (upper ? x[i] : x[i + apart]) = got;
        }
  }

  const Problem& p_;
  const block& block_;
  int which_;
  ring_place<tuning.stages> at_;
};

}  // namespace kvsharer::inline v0::cuda::detail
