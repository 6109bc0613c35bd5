// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kvsharer/backend/cuda/attention/decode_cuts.hpp"
#include "kvsharer/backend/cuda/attention/decode_line.cuh"
#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/softmax_state.cuh"
#include "kvsharer/backend/cuda/attention/tuning.hpp"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda::detail {

/// The named barrier of the threads that join results.
inline constexpr int merge_barrier = 1;

/// The end of an item's part: the results of the block's warps are joined, and either written or, by the block that is
/// last with a part of the item, merged with those of other blocks. The order of sums is that of warps and of parts,
/// whichever block is last. The first Threads threads of the block call all members.
template <int Threads, int HeadDim, class Problem>
class decode_merge {
  static constexpr int stride = decode_tuning::joined_stride(HeadDim), warps = Threads / 32;

 public:
  /// `joined`: [warps][used_rows][stride] floats of shared memory; no item of the launch has more than `used_rows`
  /// rows.
  __device__ decode_merge(const Problem& p, const decode_parts& parts, int used_rows, float* joined,
                          std::uint32_t* flag)
      : p_(p), parts_(parts), used_rows_(used_rows), joined_(joined), flag_(flag) {}

  /// `mine`: the warp's result of the block's part (plain_tile::state, softmax_state).
  template <class State>
  __device__ void finish(const item_part& part, const decode_cuts& cuts, int piece, State& mine) {
    const int rows = rows_of_tile(p_, part.s, part.at, used_rows_);
    const auto write = [&](int row, int channel, const result& x) { put(part, row, channel, x); };
    if (part.whole()) {
      join(mine, nullptr, 0);
      return each(rows, [&](int row, int channel) { write(row, channel, of_block(row, channel)); });
    }
    const item_pieces pieces(cuts, part.item_unit, part.units);
    const auto others = static_cast<std::uint32_t>(pieces.last - pieces.first);
    std::uint32_t* const arrived = parts_.arrived + pieces.first;
    // Most often the last block finds that the others are done, and so need not store what it would only load again.
    join(mine, arrived, others);
    if (*flag_ == 0) {
      const index_t to = decode_parts::place(piece, part.first == 0) * decode_parts::part_rows;
      each(rows, [&](int row, int channel) {
        const result x = of_block(row, channel);
        *reinterpret_cast<float4*>(parts_.sums + (to + row) * HeadDim + channel) = x.numbers;
        if (channel == 0) parts_.weights[to + row] = x.weight;
      });
      __threadfence();
      tell([&] { return atomicAdd(arrived, 1u) == others; });
      if (*flag_ == 0) return;
    }
    if (threadIdx.x == 0) *arrived = 0;  // for the next launch
    __threadfence();
    each(rows, [&](int row, int channel) { write(row, channel, of_item(pieces, piece, row, channel)); });
  }

 private:
  /// Four channels of a row, normalised, and the logarithm (to base 2) of their weight.
  struct result {
    float4 numbers;
    float weight;
  };

  /// Leaves all warps' results in shared memory, and in the flag whether so many other parts have arrived. The counter
  /// is on its way while results are written.
  template <class State>
  __device__ void join(State& mine, const std::uint32_t* arrived, std::uint32_t others) {
    const bool asks = threadIdx.x == 0 && arrived != nullptr;
    const std::uint32_t seen = asks ? ptx::load_acquire(arrived) : 0;
    meet();  // nothing reads the previous part's results any more
    mine.put(joined_ + static_cast<int>(threadIdx.x) / 32 * used_rows_ * stride, stride, used_rows_);
    if (threadIdx.x == 0) *flag_ = asks && seen == others ? 1 : 0;
    meet();
  }
  /// All threads are done with what was before; then one asks, and the flag tells the others.
  template <class Ask>
  __device__ void tell(Ask&& ask) {
    meet();
    if (threadIdx.x == 0) *flag_ = ask() ? 1 : 0;
    meet();
  }

  /// The members' threads wait for each other.
  __device__ static void meet() { ptx::named_barrier_wait(merge_barrier, Threads); }

  template <class Visit>
  __device__ static void each(int rows, Visit&& visit) {
    for (int i = static_cast<int>(threadIdx.x); i < rows * HeadDim / 4; i += Threads)
      visit(i / (HeadDim / 4), i % (HeadDim / 4) * 4);
  }

  __device__ static void add(float4& sum, float weight, const float4& x) {
    sum.x += weight * x.x;
    sum.y += weight * x.y;
    sum.z += weight * x.z;
    sum.w += weight * x.w;
  }
  __device__ static result normalised(const float4& sum, float base, float total) {
    if (total == 0) return {make_float4(0, 0, 0, 0), nothing_seen};
    const float inverse = 1.0f / total;
    return {make_float4(sum.x * inverse, sum.y * inverse, sum.z * inverse, sum.w * inverse), base + log2f(total)};
  }

  /// The warps' results, in their order.
  __device__ result of_block(int row, int channel) const {
    const auto from = [&](int warp) { return joined_ + (warp * used_rows_ + row) * stride; };
    float base = from(0)[HeadDim];
#pragma unroll
    for (int w = 1; w < warps; ++w) base = fmaxf(base, from(w)[HeadDim]);
    float4 sum = make_float4(0, 0, 0, 0);
    float total = 0;
#pragma unroll
    for (int w = 0; w < warps; ++w) {
      const float weight = ptx::exp2(from(w)[HeadDim] - base);
      add(sum, weight, *reinterpret_cast<const float4*>(from(w) + channel));
      total += weight * from(w)[HeadDim + 1];
    }
    return normalised(sum, base, total);
  }

  /// All parts' results, in their order. The time is that of trips to the L2, so the loads of many parts are issued at
  /// once: with equal parts there are seldom more.
  __device__ result of_item(const item_pieces& pieces, int own, int row, int channel) const {
    constexpr int at_once = 16;
    const result mine = of_block(row, channel);
    float4 sum = make_float4(0, 0, 0, 0);
    float base = nothing_seen, total = 0;
#pragma unroll 1
    for (int first = pieces.first; first <= pieces.last; first += at_once) {
      result part[at_once];
      float most = base;
#pragma unroll
      for (int j = 0; j < at_once; ++j) {
        part[j] = {make_float4(0, 0, 0, 0), nothing_seen};
        if (first + j > pieces.last) continue;
        part[j] = mine;
        if (first + j == own) continue;
        const index_t from = decode_parts::place(first + j, first + j == pieces.first) * decode_parts::part_rows + row;
        part[j].numbers = ptx::load_once_4(parts_.sums + from * HeadDim + channel);
        part[j].weight = ptx::load_once(parts_.weights + from);
      }
#pragma unroll
      for (int j = 0; j < at_once; ++j) most = fmaxf(most, part[j].weight);
      const float from = most == nothing_seen ? 0.0f : most;
      const float fade = ptx::exp2(base - from);
      sum = make_float4(sum.x * fade, sum.y * fade, sum.z * fade, sum.w * fade);
      total *= fade;
      base = most;
#pragma unroll
      for (int j = 0; j < at_once; ++j) {
        const float weight = ptx::exp2(part[j].weight - from);
        add(sum, weight, part[j].numbers);
        total += weight;
      }
    }
    return normalised(sum, base, total);
  }

  __device__ void put(const item_part& part, int row, int channel, const result& x) const {
    const index_t offset = packed_offset(p_, part.s, part.at.head, part.at.begin + row);
    const float numbers[4] = {x.numbers.x, x.numbers.y, x.numbers.z, x.numbers.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) write_result<HeadDim>(p_, offset, channel + i, numbers[i], x.weight);
  }

  const Problem& p_;
  const decode_parts& parts_;
  int used_rows_;
  float* joined_;
  std::uint32_t* flag_;  // in shared memory
};

}  // namespace kvsharer::inline v0::cuda::detail
