// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/wide_block.cuh"
#include "kvsharer/backend/cuda/attention/wide_order.cuh"
#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"

namespace kvsharer::inline v0::cuda::detail {

/// Starts the copy of 32 rows to 32 rows of a tile, its row 0 being at `to`: lane i gives row i, null for zeros. One
/// warp calls this.
template <class Tile, int HeadDim, class E>
__device__ __forceinline__ void copy_rows(const E* row, std::byte* to) {
  constexpr int pieces = HeadDim / 8, at_once = 32 / pieces;
  const int piece = lane_id() % pieces, first = lane_id() / pieces;
  const auto address = reinterpret_cast<std::uintptr_t>(row);
  std::byte* const block = to + Tile::offset(0, piece - piece % 8) + first * Tile::row_bytes;
  const int place = ((piece % 8) ^ first) * 16;
#pragma unroll
  for (int n = 0; n < 32; n += at_once) {  // row n + first: `first` has the low bits, n the others
    const auto* from = reinterpret_cast<const E*>(__shfl_sync(0xffffffffu, address, n + first));
    std::byte* const swizzled = block + n * Tile::row_bytes + (place ^ (n % 8 * 16));
    ptx::copy_async_16<ptx::reuse::some>(swizzled, from + 8 * piece, from != nullptr);
  }
}

/// Finds rows of one view: a lane has one token of each tile, and the page of the next is loaded a tile ahead.
template <class View>
class row_finder {
 public:
  /// Of tokens [token, end) of a KV head.
  __device__ row_finder(const View& view, int head, int end, int token) : view_(view), head_(head), end_(end) {
    if (end > 0) look_ahead(token);
  }

  /// The row of a token, or null if it has none; then loads what the token `step` further needs.
  template <class Problem>
  __device__ const typename View::value_type* find(const Problem& p, const wide_item& item, int token, int step) {
    const typename View::value_type* row = nullptr;
    if (token < end_) {
      if constexpr (PagedRowView<View>)
        row = view_.find_in(page_, head_, token);
      else
        row = find_row(view_, head_, token);
      if (row == nullptr) report(p.status, refusal::page_out_of_range, p.layer, item.sequence, token);
    }
    look_ahead(token + step);
    return row;
  }

 private:
  /// The load has no condition, so that nothing waits for the page before it is needed.
  __device__ void look_ahead(int token) {
    if constexpr (PagedRowView<View>) page_ = *view_.entry(head_, token < end_ ? token : end_ - 1);
  }

  const View view_;
  int head_, end_;
  std::int32_t page_ = 0;
};

/// The warpgroup that chooses the block's items and copies their queries, keys and values.
template <class Tuning, int HeadDim, class Problem>
class wide_producer {
  using block = wide_block<Tuning, HeadDim>;
  using element = typename Problem::element;
  static constexpr wide_tuning tuning = Tuning::value;

 public:
  __device__ wide_producer(const Problem& p, const block& b, std::uint32_t* counter, index_t l2_bytes)
      : p_(p), block_(b), counter_(counter), l2_bytes_(l2_bytes) {}

  /// `thread` of the warpgroup.
  __device__ void run(int thread) {
    const int warp = thread / 32;
    const wide_order<Problem> order(p_, HeadDim, tuning.rows(), tuning.tokens, l2_bytes_);
    int rank = static_cast<int>(blockIdx.x);
    for (int n = 0;; ++n) {
      if (warp == 0) {
        wide_item next{};
        next.head = -1;
        if (rank < order.items()) {
          next = order.find(rank);
          rank = ask(order.items());
        }
        if (thread == 0) block_.shared.items[n % 2] = next;
      }
      // Consumers have read an item before its queries give way, so they never see the one after the next.
      ptx::named_barrier_wait(producer_barrier, warpgroup_threads);
      const wide_item& item = block_.shared.items[n % 2];
      load(item, n, thread);
      if (item.head < 0) return;
    }
  }

 private:
  /// The next rank that no block has. The last block that asks leaves the counter at 0: there are as many questions as
  /// items, since every block that begins with one asks once more than it gets.
  __device__ int ask(int items) const {
    int taken = 0;
    if (lane_id() == 0) {
      taken = static_cast<int>(atomicAdd(counter_, 1u));
      if (taken == items - 1) *counter_ = 0;
    }
    return static_cast<int>(gridDim.x) + __shfl_sync(0xffffffffu, taken, 0);
  }

  /// Queries go after the first keys: these need not wait for the end of the item before.
  __device__ void load(const wide_item& item, int n, int thread) {
    static_assert(tuning.tokens == warpgroup_threads, "each thread finds the row of one token");
    const int first = item.first, end = item.head < 0 ? first : item.end;
    row_finder keys(p_.keys.sequence(item.place), item.head, end, first + thread);
    row_finder values(p_.values.sequence(item.place), item.head, end, first + thread);
    const int offset = thread / 32 * 32 * block::key_tile::row_bytes;
    for (int token = first;; at_.advance()) {
      const int stage = at_.stage, mine = token + thread;
      const bool any = token < end;
      if (any) {
        const element* const key = keys.find(p_, item, mine, tuning.tokens);
        ptx::barrier_wait_opaque(block_.shared.key_empty[stage], at_.parity ^ 1);
        copy_rows<typename block::key_tile, HeadDim>(key, block_.keys(stage) + offset);
        ptx::barrier_arrive_after_copies(block_.shared.key_full[stage]);
      }
      if (token == first) load_queries(item, n, thread);
      if (!any) return;
      const element* const value = values.find(p_, item, mine, tuning.tokens);
      ptx::barrier_wait_opaque(block_.shared.value_empty[stage], at_.parity ^ 1);
      copy_rows<typename block::key_tile, HeadDim>(value, block_.values(stage) + offset);
      ptx::barrier_arrive_after_copies(block_.shared.value_full[stage]);
      token += tuning.tokens;
      if (token >= end) {
        at_.advance();
        return;
      }
    }
  }

  /// The n-th item of the block with its queries, zeros for padding rows.
  __device__ void load_queries(const wide_item& item, int n, int thread) {
    ptx::barrier_wait_opaque(block_.shared.query_empty, (n & 1) ^ 1);
    if (item.head >= 0)
      for (int first = thread / 32 * 32; first < tuning.rows(); first += warpgroup_threads) {
        const int packed = item.begin + first + lane_id(), row = packed / p_.group;
        const int head = item.head * p_.group + packed - row * p_.group;
        const index_t offset = index_t{item.first_row + row} * (p_.kv_heads * p_.group) + head;
        const element* const from = packed < item.packed_rows ? p_.queries + offset * HeadDim : nullptr;
        copy_rows<typename block::query_tile, HeadDim>(from, block_.queries() + first * block::query_tile::row_bytes);
      }
    ptx::barrier_arrive_after_copies(block_.shared.query_full);
    if (thread == 0) ptx::barrier_arrive(block_.shared.query_full);  // shows the item
  }

  const Problem& p_;
  const block& block_;
  std::uint32_t* counter_;
  index_t l2_bytes_;
  ring_place<tuning.stages> at_;
};

}  // namespace kvsharer::inline v0::cuda::detail
