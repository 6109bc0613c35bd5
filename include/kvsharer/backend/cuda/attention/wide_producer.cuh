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
  /// Of the tokens before `end` of a KV head; `page` is that of the first that will be asked for.
  __device__ row_finder(const View& view, int head, int end, std::int32_t page)
      : view_(view), head_(head), end_(end), page_(page) {}

  /// The page of a token, that of the last one for those past it.
  __device__ static std::int32_t page_of(const View& view, int head, int end, int token) {
    if constexpr (PagedRowView<View>)
      if (end > 0) return *view.entry(head, token < end ? token : end - 1);
    return 0;
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
  std::int32_t page_;
};

/// The warpgroup that chooses the block's items and copies their queries, keys and values.
template <class Tuning, int HeadDim, class Problem>
class wide_producer {
  using block = wide_block<Tuning, HeadDim>;
  using element = typename Problem::element;
  using order = wide_order<Problem>;
  static constexpr wide_tuning tuning = Tuning::value;
  static constexpr int round = warpgroup_threads / 32;

 public:
  __device__ wide_producer(const Problem& p, const block& b, std::uint32_t* counter, index_t l2_bytes)
      : p_(p), block_(b), counter_(counter), l2_bytes_(l2_bytes) {}

  /// `thread` of the warpgroup. The pages of an item's first tokens are loaded an item ahead, if it is known so early.
  __device__ void run(int thread) {
    const order items(p_, HeadDim, tuning.rows(), tuning.tokens, tuning.short_tokens, l2_bytes_);
    const bool ahead = items.items_are_short();
    int rank = static_cast<int>(blockIdx.x);
    first_pages next{};
    for (int n = 0;; ++n) {
      if (!ahead || n == 0 || n % round == round - 1) choose(items, n, rank, thread);
      const first_pages pages = ahead && n > 0 ? next : look_up(block_.item(n), thread);
      if (ahead) next = look_up(block_.item(n + 1), thread);
      const wide_item& item = block_.item(n);
      load(item, n, pages, thread);
      if (item.head < 0) return;
    }
  }

 private:
  /// Of the first tile of keys and of values, for the thread's token.
  struct first_pages {
    std::int32_t key, value;
  };

  __device__ first_pages look_up(const wide_item& item, int thread) const {
    const auto keys = p_.keys.sequence(item.place);
    const auto values = p_.values.sequence(item.place);
    const int end = item.head < 0 ? 0 : item.end, token = item.first + thread;
    return {row_finder<decltype(keys)>::page_of(keys, item.head, end, token),
            row_finder<decltype(values)>::page_of(values, item.head, end, token)};
  }

  /// Finds the n-th item of the block, that of `rank`, and asks for the next rank; or, where items are short and blocks
  /// take ranks in turns, a round of items, one for each warp: the first round, or that from item n + 1 on.
  ///
  /// Nobody reads an item any more that is overwritten: who comes here with n > 0 has waited until the queries of item
  /// n - 2 gave way, so that consumers have read that item and the whole warpgroup has left item n - 3. A round takes
  /// the places of the items from n - 7 to n - 4.
  __device__ void choose(const order& items, int n, int& rank, int thread) const {
    static_assert(sizeof(block_.shared.items) == 2 * round * sizeof(wide_item));
    const bool in_turns = items.items_are_short();
    const int warp = __shfl_sync(0xffffffffu, thread / 32, 0);  // so that the compiler knows all lanes to have it
    const int mine = in_turns ? (n + 1) / round * round + warp : n;
    if (in_turns || warp == 0) {
      if (in_turns) rank = mine * static_cast<int>(gridDim.x) + static_cast<int>(blockIdx.x);
      const bool some = rank < items.items();
      int taken = 0;
      if (some && !in_turns) taken = ask();  // while the item is found
      wide_item item{};
      item.head = -1;
      if (some) item = items.find(rank);
      if (lane_id() == 0) block_.item(mine) = item;
      if (some && !in_turns) rank = next_rank(taken, items.items());
    }
    ptx::named_barrier_wait(producer_barrier, warpgroup_threads);
  }

  /// Takes a number of the counter, which lane 0 gets. next_rank makes it the next rank that no block has; the last
  /// block that asks leaves the counter at 0: there are as many questions as items, since every block that begins with
  /// one asks once more than it gets.
  __device__ int ask() const { return lane_id() == 0 ? static_cast<int>(atomicAdd(counter_, 1u)) : 0; }
  __device__ int next_rank(int taken, int items) const {
    if (lane_id() == 0 && taken == items - 1) *counter_ = 0;
    return static_cast<int>(gridDim.x) + __shfl_sync(0xffffffffu, taken, 0);
  }

  /// Queries go after the first keys: these need not wait for the end of the item before.
  __device__ void load(const wide_item& item, int n, const first_pages& pages, int thread) {
    static_assert(tuning.tokens == warpgroup_threads, "each thread finds the row of one token");
    const int first = item.first, end = item.head < 0 ? first : item.end;
    row_finder keys(p_.keys.sequence(item.place), item.head, end, pages.key);
    row_finder values(p_.values.sequence(item.place), item.head, end, pages.value);
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

  /// The n-th item of the block with its queries, zeros for padding rows; none for a consumer that has padding alone.
  __device__ void load_queries(const wide_item& item, int n, int thread) {
    ptx::barrier_wait_opaque(block_.shared.query_empty, (n & 1) ^ 1);
    if (item.head >= 0)
      for (int first = thread / 32 * 32; first < tuning.rows(); first += warpgroup_threads) {
        if (item.begin + first / warpgroup_rows * warpgroup_rows >= item.packed_rows) break;
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
