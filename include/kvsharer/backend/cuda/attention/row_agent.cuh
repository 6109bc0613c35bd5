// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kvsharer/backend/cuda/attention/decode_cuts.hpp"
#include "kvsharer/backend/cuda/attention/decode_line.cuh"
#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/softmax_state.cuh"
#include "kvsharer/backend/cuda/attention/tuning.hpp"
#include "kvsharer/backend/cuda/attention/warp_product.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda::detail {

/// One block of decode attention that looks up every row: for rows that do not lie in runs, for float, and for devices
/// without bulk copies. Its warps stream different tokens of the same item, each through its own tiles, so that no warp
/// waits for another until the item's part is done and their results are joined.
template <class Tuning, int HeadDim, class Problem>
class row_agent {
  using element = typename Problem::element;
  using product = warp_product<element, HeadDim>;
  using state = softmax_state<HeadDim>;

  static constexpr row_tuning tuning = Tuning::value;
  using line = decode_line<tuning.warps * 32>;
  static constexpr int stride = tile_stride(HeadDim, sizeof(element));
  static constexpr int tile = warp_tokens * stride;
  static_assert(tuning.warps * (warp_rows * (HeadDim + 2) + 1) * static_cast<int>(sizeof(float)) <=
                    tuning.warps * row_tuning::least_stages * tuning.step_bytes(HeadDim, sizeof(element)),
                "the warps' results take the place of their tiles when they are joined");

 public:
  __device__ row_agent(const Problem& problem, const decode_parts& parts)
      : p_(problem),
        parts_(parts),
        sums_(reinterpret_cast<int*>(ptx::dynamic_shared())),
        queries_(reinterpret_cast<element*>(sums_ + line::shared_words)),
        tiles_(queries_ + warp_rows * stride) {
    static_assert(line::shared_words * static_cast<int>(sizeof(int)) == tuning.line_bytes());
  }

  /// Works on the block's piece of the line of units, and writes zeros for sequences without a token.
  __device__ void run(int block) {
    line of_units(p_, {.tokens = tuning.unit_tokens(), .tile_rows = warp_rows, .aligned = 1}, sums_);
    of_units.prepare();
    write_empty_lists<HeadDim>(p_, of_units, block, parts_.blocks, tuning.warps * 32);
    const decode_cuts cuts(of_units.total(), parts_.blocks, of_units.even_units());
    const int begin = cuts.begin(block), end = cuts.begin(block + 1);
    if (begin >= end) return;
    for_each_part(p_, of_units, warp_rows, of_units.find(begin), begin, end, [&](const item_part& part) {
      const sequence_rows& s = part.s;
      attend(s, part.at, part.first, part.last);
      if (part.whole()) {
        write_joined(s, part.at,
                     [&](int row, int channel, float x, float lse2) { write(s, part.at, row, channel, x, lse2); });
      } else {
        const item_pieces all(cuts, part.item_unit, part.units);
        keep_part(s, part.at, decode_parts::place(block, part.first == 0));
        if (is_last_part(all)) merge_parts(s, part.at, all);
      }
    });
  }

 private:
  /// Attends to the units [first, last) of one item, which begin at the first token that a row of the sequence sees.
  /// Leaves every warp's result in shared memory.
  __device__ void attend(const sequence_rows& s, const row_tile& at, int first, int last) {
    __syncthreads();  // nothing reads the previous item's tiles any more
    state mine;
    mine.init();
    const int seen = static_cast<int>(s.first_visible(0, p_.window));
    const int end = min_of(seen + last * tuning.unit_tokens(), static_cast<int>(s.length));
    const int begin = seen + first * tuning.unit_tokens();
    stream_tokens(s, at, begin, readable_end(p_, at.sequence, end), mine);
    mine.finish();
    join(mine);
  }

  /// The block loads the queries; this warp streams its tokens of [begin, end): steps of warp_tokens, every
  /// tuning.warps-th of them. The first tokens are in flight before the wait for the queries.
  __device__ void stream_tokens(const sequence_rows& s, const row_tile& at, int begin, int end, state& mine) {
    constexpr int pace = tuning.warps * warp_tokens;
    const auto keys = p_.keys.sequence(s.place);
    const auto values = p_.values.sequence(s.place);
    const int ahead = parts_.stages - 1;  // steps in flight while one is worked on
    element* const own = tiles_ + warp() * parts_.stages * 2 * tile;
    const auto fetch = [&](int token, int stage) {
      if (token < end)
        load_tokens<HeadDim, ptx::reuse::none>(p_, keys, values, at, token, end, own + 2 * stage * tile,
                                               own + (2 * stage + 1) * tile);
      ptx::copy_commit();  // an empty group, too, so that groups and steps count alike
    };
    int token = begin + warp() * warp_tokens;
    load_queries<HeadDim>(p_, s, at, warp_rows, queries_);
    ptx::copy_commit();
#pragma unroll 1
    for (int stage = 0; stage < ahead; ++stage) fetch(token + stage * pace, stage);
    const row_limits limits = limits_of_rows(p_, s, at);
    wait_but(ahead);
    __syncthreads();
    const typename product::queries queries(queries_);
    for (int stage = 0; token < end; token += pace, stage = stage < ahead ? stage + 1 : 0) {
      const int next = stage == 0 ? ahead : stage - 1;
      fetch(token + ahead * pace, next);
      wait_but(ahead);
      __syncwarp();
      float scores[warp_tokens / 8][4];
      product::template scores<warp_tokens>(queries, own + 2 * stage * tile, scores);
      scale_and_hide(limits, token, scores);
      mine.absorb(scores);
      product::template accumulate<warp_tokens>(scores, own + (2 * stage + 1) * tile, mine.sums);
      __syncwarp();  // the tiles may be written again
    }
    ptx::copy_wait<0>();
  }

  /// Waits until all but this thread's newest groups of copies, 1 or 2 of them, have landed.
  __device__ static void wait_but(int newest) {
    if (newest == 2)
      ptx::copy_wait<2>();
    else
      ptx::copy_wait<1>();
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

  /// Adds up the warps' results: write(row, channel, number, log-sum-exp to base 2) for every number of the item.
  template <class Write>
  __device__ void write_joined(const sequence_rows& s, const row_tile& at, Write&& write) {
    for (int i = static_cast<int>(threadIdx.x); i < rows_of_tile(p_, s, at, warp_rows) * HeadDim;
         i += static_cast<int>(blockDim.x)) {
      const int row = i / HeadDim;
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
      write(row, i % HeadDim, total > 0 ? sum / total : 0.0f, total > 0 ? base + log2f(total) : nothing_seen);
    }
  }

  __device__ void keep_part(const sequence_rows& s, const row_tile& at, index_t part) {
    write_joined(s, at, [&](int row, int channel, float x, float lse2) {
      parts_.sums[(part * warp_rows + row) * HeadDim + channel] = x;
      if (channel == 0) parts_.weights[part * warp_rows + row] = lse2;
    });
  }

  /// Reports a part of an item as stored. True in the block that reports last, which may then read all parts.
  __device__ bool is_last_part(const item_pieces& pieces) {
    __threadfence();
    __syncthreads();
    auto* const last = flag();
    if (threadIdx.x == 0) {
      const auto others = static_cast<std::uint32_t>(pieces.last - pieces.first);
      *last = atomicAdd(&parts_.arrived[pieces.first], 1u) == others ? 1 : 0;
      if (*last != 0) parts_.arrived[pieces.first] = 0;  // for the next launch
    }
    __syncthreads();
    if (*last != 0) __threadfence();
    return *last != 0;
  }

  /// Joins the parts of an item, always in the same order. Latency takes all the time here, so loads are issued early.
  __device__ void merge_parts(const sequence_rows& s, const row_tile& at, const item_pieces& pieces) {
    const int count = pieces.last - pieces.first + 1, rows = rows_of_tile(p_, s, at, warp_rows);
    constexpr row_tuning local = tuning;  // device code has no address for the class's constant
    const int rows_at_once = local.merged_rows(count, HeadDim);
    for (int first = 0; first < rows; first += rows_at_once) {
      if (first > 0) __syncthreads();  // nothing reads the previous rows' weights any more
      merge_rows(s, at, pieces, count, first, rows - first < rows_at_once ? rows - first : rows_at_once);
    }
  }

  /// Joins the item's rows [first, first + rows), as many as have room for the weights of their parts.
  __device__ void merge_rows(const sequence_rows& s, const row_tile& at, const item_pieces& pieces, int count,
                             int first, int rows) {
    const auto place = [&](int part) { return decode_parts::place(pieces.first + part, part == 0) * warp_rows; };
    float* const weights = joined_sums();  // [row][part], over the block's own results, which nothing reads any more
    for (int i = static_cast<int>(threadIdx.x); i < rows * count; i += static_cast<int>(blockDim.x))
      weights[i] = ptx::load_once(parts_.weights + place(i % count) + first + i / count);
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < rows * HeadDim / 4; i += static_cast<int>(blockDim.x)) {
      const int row = i / (HeadDim / 4), channel = i % (HeadDim / 4) * 4;
      float largest = nothing_seen;
      for (int part = 0; part < count; ++part) largest = fmaxf(largest, weights[row * count + part]);
      const float base = largest == nothing_seen ? 0.0f : largest;
      float total = 0, sum[4] = {};
#pragma unroll 8
      for (int part = 0; part < count; ++part) {
        const float4 x = ptx::load_once_4(parts_.sums + (place(part) + first + row) * HeadDim + channel);
        const float weight = ptx::exp2(weights[row * count + part] - base);
        total += weight;
        sum[0] += weight * x.x;
        sum[1] += weight * x.y;
        sum[2] += weight * x.z;
        sum[3] += weight * x.w;
      }
      const float inverse = total > 0 ? 1.0f / total : 0.0f;
#pragma unroll
      for (int j = 0; j < 4; ++j)
        write(s, at, first + row, channel + j, sum[j] * inverse, total > 0 ? base + log2f(total) : nothing_seen);
    }
  }

  __device__ void write(const sequence_rows& s, const row_tile& at, int row, int channel, float x, float lse2) {
    write_result<HeadDim>(p_, packed_offset(p_, s, at.head, at.begin + row), channel, x, lse2);
  }

  __device__ static int min_of(int a, int b) { return a < b ? a : b; }
  __device__ static int warp() { return static_cast<int>(threadIdx.x) / 32; }
  __device__ float* joined_sums() const { return reinterpret_cast<float*>(tiles_); }
  __device__ float* joined_largest() const { return joined_sums() + tuning.warps * warp_rows * HeadDim; }
  __device__ float* joined_total() const { return joined_largest() + tuning.warps * warp_rows; }

  __device__ std::uint32_t* flag() const {
    return reinterpret_cast<std::uint32_t*>(joined_total() + tuning.warps * warp_rows);
  }

  const Problem& p_;
  const decode_parts& parts_;
  int* sums_;         // of the line of units
  element* queries_;  // [warp_rows][stride]
  element* tiles_;    // [warp][stage][keys, values][warp_tokens][stride]
};

}  // namespace kvsharer::inline v0::cuda::detail
