// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "kvsharer/backend/cuda/attention/decode_schedule.cuh"
#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/softmax_state.cuh"
#include "kvsharer/backend/cuda/attention/tuning.hpp"
#include "kvsharer/backend/cuda/attention/warp_product.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda::detail {

/// One block of decode attention. Its warps stream different tokens of the same item, each through tiles of its own, so
/// that none waits for another until the item's part is done and their results are joined.
template <class Tuning, int HeadDim, class Problem>
class decode_agent {
  using element = typename Problem::element;
  using product = warp_product<element, HeadDim>;
  using state = softmax_state<HeadDim>;

  static constexpr decode_tuning tuning = Tuning::value;
  static constexpr int stride = tile_stride(HeadDim, sizeof(element));
  static constexpr int tile = warp_tokens * stride;
  static_assert(tuning.warps * warp_rows * (HeadDim + 2) * static_cast<int>(sizeof(float)) <=
                    tuning.warps * tuning.stages * tuning.step_bytes(HeadDim, sizeof(element)),
                "the warps' results take the place of their tiles when they are joined");

 public:
  __device__ decode_agent(const Problem& problem, const decode_parts& parts)
      : p_(problem),
        parts_(parts),
        queries_(reinterpret_cast<element*>(ptx::dynamic_shared())),
        tiles_(queries_ + warp_rows * stride) {}

  /// The block's part of the whole line of units.
  __device__ void run(index_t block) {
    const decode_schedule schedule(p_.batch, p_.kv_heads, p_.group, tuning.unit_tokens());
    const index_t total = schedule.total(), quota = ceil_div(total, parts_.blocks);
    index_t unit = block * quota;
    const index_t end = unit + quota < total ? unit + quota : total;
    if (unit >= end) return;

    auto [b, in_sequence] = schedule.find(unit);
    while (unit < end) {
      const index_t per_item = schedule.units_per_item(b), of_sequence = schedule.units(b);
      for (; in_sequence < of_sequence && unit < end;) {
        const index_t item = in_sequence / per_item, first = in_sequence % per_item;
        const index_t last = first + (end - unit) < per_item ? first + (end - unit) : per_item;
        const index_t tiles = schedule.tiles(b);
        const row_tile at{b, static_cast<int>(item / tiles), item % tiles * warp_rows};
        attend(at, first, last, first == 0 && last == per_item, decode_parts::place(block, first == 0));
        unit += last - first;
        in_sequence += last - first;
      }
      ++b;
      in_sequence = 0;
    }
  }

 private:
  /// Units [first, last) of one item.
  __device__ void attend(const row_tile& at, index_t first, index_t last, bool whole, index_t part) {
    const sequence_rows s(p_.batch, at.sequence);
    load_queries<HeadDim>(p_, s, at, warp_rows, queries_);
    ptx::copy_commit();
    ptx::copy_wait<0>();
    __syncthreads();
    state mine;
    mine.init();
    stream_tokens(s, at, first * tuning.unit_tokens(), min_of(last * tuning.unit_tokens(), s.length), mine);
    mine.finish();
    join(mine);
    write(s, at, whole, part);
  }

  /// This warp's tokens of [begin, end): steps of warp_tokens, every tuning.warps-th of them.
  __device__ void stream_tokens(const sequence_rows& s, const row_tile& at, index_t begin, index_t end, state& mine) {
    constexpr index_t pace = tuning.warps * warp_tokens;
    const auto keys = p_.keys.sequence(s.place);
    const auto values = p_.values.sequence(s.place);
    element* const own = tiles_ + warp() * tuning.stages * 2 * tile;
    const auto fetch = [&](index_t token, int stage) {
      if (token < end)
        load_tokens<HeadDim>(p_, keys, values, at, token, end, own + 2 * stage * tile, own + (2 * stage + 1) * tile);
      ptx::copy_commit();  // an empty group, too, so that groups and steps count alike
    };
    index_t token = begin + warp() * warp_tokens;
#pragma unroll
    for (int stage = 0; stage < tuning.stages - 1; ++stage) fetch(token + stage * pace, stage);
    for (int stage = 0; token < end; token += pace, stage = stage + 1 < tuning.stages ? stage + 1 : 0) {
      const int next = stage == 0 ? tuning.stages - 1 : stage - 1;
      fetch(token + (tuning.stages - 1) * pace, next);
      ptx::copy_wait<tuning.stages - 1>();
      __syncwarp();
      float scores[warp_tokens / 8][4];
      product::template scores<warp_tokens>(queries_, own + 2 * stage * tile, scores);
      scale_and_hide(p_, s, at, token, scores);
      mine.absorb(scores);
      product::template accumulate<warp_tokens>(scores, own + (2 * stage + 1) * tile, mine.sums);
      __syncwarp();  // the tiles may be written again
    }
    ptx::copy_wait<0>();
  }

  /// Leaves every warp's result in shared memory: sums [warp][row][channel], then largest and total [warp][row].
  __device__ void join(const state& mine) {
    __syncthreads();
    float* const sums = joined_sums() + warp() * warp_rows * HeadDim;
    const int g = lane_id() / 4, q = lane_id() % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = g + 8 * half;
#pragma unroll
      for (int d = 0; d < HeadDim / 8; ++d) {
        sums[row * HeadDim + 8 * d + 2 * q] = mine.sums[d][2 * half];
        sums[row * HeadDim + 8 * d + 2 * q + 1] = mine.sums[d][2 * half + 1];
      }
      if (q == 0) {
        joined_largest()[warp() * warp_rows + row] = mine.largest[half];
        joined_total()[warp() * warp_rows + row] = mine.total[half];
      }
    }
    __syncthreads();
  }

  /// Adds the warps' results up and writes the item's result, or its part's.
  __device__ void write(const sequence_rows& s, const row_tile& at, bool whole, index_t part) {
    const index_t left = s.rows * p_.group - at.begin;
    const int rows = left < warp_rows ? static_cast<int>(left) : warp_rows;
    for (int i = static_cast<int>(threadIdx.x); i < rows * HeadDim; i += static_cast<int>(blockDim.x)) {
      const int row = i / HeadDim, channel = i % HeadDim;
      float largest = nothing_seen;
#pragma unroll
      for (int w = 0; w < tuning.warps; ++w) largest = fmaxf(largest, joined_largest()[w * warp_rows + row]);
      const float base = largest == nothing_seen ? 0.0f : largest;
      float sum = 0, total = 0;
#pragma unroll
      for (int w = 0; w < tuning.warps; ++w) {
        const float weight = ptx::exp2(joined_largest()[w * warp_rows + row] - base);
        sum += weight * joined_sums()[w * warp_rows * HeadDim + i];
        total += weight * joined_total()[w * warp_rows + row];
      }
      const float x = total > 0 ? sum / total : 0.0f;
      const float lse2 = total > 0 ? base + log2f(total) : nothing_seen;
      if (whole) {
        write_result<HeadDim>(p_, packed_offset(p_, s, at.head, at.begin + row), channel, x, lse2);
      } else {
        parts_.sums[(part * warp_rows + row) * HeadDim + channel] = x;
        if (channel == 0) parts_.weights[part * warp_rows + row] = lse2;
      }
    }
  }

  __device__ static index_t min_of(index_t a, index_t b) { return a < b ? a : b; }
  __device__ static int warp() { return static_cast<int>(threadIdx.x) / 32; }
  __device__ float* joined_sums() const { return reinterpret_cast<float*>(tiles_); }
  __device__ float* joined_largest() const { return joined_sums() + tuning.warps * warp_rows * HeadDim; }
  __device__ float* joined_total() const { return joined_largest() + tuning.warps * warp_rows; }

  const Problem& p_;
  const decode_parts& parts_;
  element* queries_;  // [warp_rows][stride]
  element* tiles_;    // [warp][stage][keys, values][warp_tokens][stride]
};

/// Joins the parts of one item of decode attention, or writes the zeros of rows that see no token. By one block.
template <int HeadDim, class Problem>
__device__ void merge_parts(const Problem& p, const decode_parts& parts, int unit_tokens, index_t b, index_t item) {
  const decode_schedule schedule(p.batch, p.kv_heads, p.group, unit_tokens);
  if (item >= schedule.items(b)) return;
  const index_t tiles = schedule.tiles(b), per_item = schedule.units_per_item(b);
  const index_t quota = schedule.quota(parts.blocks);
  const index_t begin = schedule.units_before(b) + item * per_item;
  const index_t first_block = begin / quota, last_block = per_item > 0 ? (begin + per_item - 1) / quota : first_block;
  if (per_item > 0 && first_block == last_block) return;  // written whole

  const sequence_rows s(p.batch, b);
  const row_tile at{b, static_cast<int>(item / tiles), item % tiles * warp_rows};
  const index_t left = s.rows * p.group - at.begin;
  const int rows = left < warp_rows ? static_cast<int>(left) : warp_rows;
  for (int i = static_cast<int>(threadIdx.x); i < rows * HeadDim; i += static_cast<int>(blockDim.x)) {
    const int row = i / HeadDim, channel = i % HeadDim;
    float largest = nothing_seen, sum = 0, total = 0;
    for (index_t block = first_block; per_item > 0 && block <= last_block; ++block) {
      const index_t part = decode_parts::place(block, block == first_block);
      const float weight = parts.weights[part * warp_rows + row];
      const float most = fmaxf(largest, weight), base = most == nothing_seen ? 0.0f : most;
      const float fade = ptx::exp2(largest - base), share = ptx::exp2(weight - base);
      sum = sum * fade + share * parts.sums[(part * warp_rows + row) * HeadDim + channel];
      total = total * fade + share;
      largest = most;
    }
    write_result<HeadDim>(p, packed_offset(p, s, at.head, at.begin + row), channel, total > 0 ? sum / total : 0.0f,
                          total > 0 ? largest + log2f(total) : nothing_seen);
  }
}

}  // namespace kvsharer::inline v0::cuda::detail
