// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/softmax_state.cuh"
#include "kvsharer/backend/cuda/attention/tuning.hpp"
#include "kvsharer/backend/cuda/attention/warp_product.cuh"
#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/core/divisor.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda::detail {

__device__ inline int ceil_div(int a, int b) { return (a + b - 1) / b; }

/// In what a kernel counts its work.
struct line_units {
  int tokens;     ///< of a unit
  int tile_rows;  ///< packed rows of an item
  int aligned;    ///< an item's first unit begins at a multiple of so many tokens, which holds the first visible one
};

/// The work of decode attention in one line, whatever the lengths are. A unit of work is a number of tokens, for one KV
/// head and one tile of rows. All units stand in one line, sequence after sequence, head after head, and the line is
/// cut into pieces (decode_cuts). An item is one KV head and one tile of rows of one sequence. A block finds its piece
/// from the lengths alone, so a captured launch stays balanced while sequences grow. All items of one list of tokens
/// have the same length.
///
/// All numbers have 32 bits, whose divisions are fast: a line of 2^31 units is more than any device's memory.
template <int Threads>
class decode_line {
 public:
  /// Words of shared memory that `prepare` fills: a sum for each thread, a flag for each warp.
  static constexpr int shared_words = decode_tuning::line_words(Threads);

  /// `sums` is shared memory for shared_words numbers, in use until the last call of `find`. Whole warps call all
  /// members.
  template <class Problem>
  __device__ decode_line(const Problem& p, const line_units& units, int* sums)
      : batch_(p.batch),
        counts_(p.lists),
        lists_(p.of_sequence),
        heads_(p.lists.head_step != 0 ? 1 : p.kv_heads),
        group_(p.group),
        window_(p.window),
        units_(units),
        all_(static_cast<int>(p.batch.sequences) * static_cast<int>(p.of_sequence.value())),
        chunk_(all_ <= few_lists ? all_ : ceil_div(all_, Threads)),
        sums_(sums) {}

  /// The whole block calls this before `total`, `even_units` and `find`. With many lists, it sums the units up to the
  /// end of each thread's chunk of them.
  __device__ void prepare() {
    if (all_ <= few_lists) return;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
    int through = 0;
    bool alike = true;
    const int end = min_of(all_, (thread + 1) * chunk_);
    for (int list = thread * chunk_; list < end; ++list) {
      through += units(list);
      alike = alike && like_first(list);
    }
    through = sum_of_lanes_up_to(through);
    alike = __all_sync(0xffffffffu, alike);
    if (lane_id() == 31) {
      sums_[warp] = through;
      sums_[Threads + warp] = alike ? 1 : 0;
    }
    __syncthreads();
    int before = 0;
    for (int w = 0; w < warp; ++w) before += sums_[w];
    __syncthreads();
    sums_[thread] = before + through;
    __syncthreads();
  }

  /// Lists of all sequences of the launch.
  __device__ int lists() const { return all_; }
  /// The sequence of a list, and the first KV head that reads from it.
  __device__ int sequence(int list) const { return static_cast<int>(lists_.quotient(list)); }
  __device__ int head(int list) const { return list - sequence(list) * static_cast<int>(lists_.value()); }
  __device__ int length(int list) const {
    return static_cast<int>(counts_.of(batch_.place(sequence(list)), head(list)));
  }

  __device__ int tiles(int list) const { return ceil_div(rows(list) * group_, units_.tile_rows); }
  __device__ int items(int list) const { return heads_ * tiles(list); }
  __device__ int units_per_item(int list) const {
    const int tokens = length(list), before = tokens - rows(list) + 1 - window_;
    return ceil_div(tokens - first_token(before > 0 ? before : 0), units_.tokens);
  }
  /// Where an item's first unit begins, given the first token that a row of the sequence sees.
  __device__ int first_token(int visible) const { return visible - visible % units_.aligned; }
  __device__ int units(int list) const { return items(list) * units_per_item(list); }

  /// Units of all lists together.
  __device__ int total() const {
    if (all_ > few_lists) return sums_[Threads - 1];
    int sum = 0;
    for (int i = lane_id(); i < all_; i += 32) sum += units(i);
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    return sum;
  }

  /// Units per item, if they and the number of items are the same in all lists; else 0.
  __device__ int even_units() const {
    bool alike = true;
    if (all_ > few_lists)
      for (int w = 0; w < Threads / 32; ++w) alike = alike && sums_[Threads + w] != 0;
    else
      for (int i = lane_id(); i < all_; i += 32) alike = alike && like_first(i);
    return __all_sync(0xffffffffu, alike) ? units_per_item(0) : 0;
  }

  /// The list that holds unit `u` < total(), and the unit's number in it.
  struct place {
    int list, unit;
  };
  __device__ place find(int u) const {
    int before = 0, first = 0;
    if (all_ > few_lists) {
      int chunk = 0;  // the first chunk that ends after u
      for (int base = 0; base < Threads; base += 32)
        chunk += __popc(__ballot_sync(0xffffffffu, sums_[base + lane_id()] <= u));
      before = chunk > 0 ? sums_[chunk - 1] : 0;
      first = chunk * chunk_;
    }
    const int last = min_of(all_, first + chunk_);
    for (int base = first; base < last; base += 32) {
      const int list = base + lane_id();
      const int own = list < last ? units(list) : 0, through = sum_of_lanes_up_to(own);
      const unsigned beyond = __ballot_sync(0xffffffffu, before + through > u);
      if (beyond != 0) {
        const int lane = __ffs(static_cast<int>(beyond)) - 1;
        const int begin = before + __shfl_sync(0xffffffffu, through - own, lane);
        return {base + lane, u - begin};
      }
      before += __shfl_sync(0xffffffffu, through, 31);
    }
    return {all_, 0};
  }

 private:
  /// Up to this many lists, every warp goes through them itself, without waiting for the others.
  static constexpr int few_lists = 64;

  __device__ static int min_of(int a, int b) { return a < b ? a : b; }
  __device__ int rows(int list) const { return static_cast<int>(batch_.rows_of(sequence(list))); }
  __device__ bool like_first(int list) const {
    return units_per_item(list) == units_per_item(0) && tiles(list) == tiles(0);
  }
  /// The sum of x over this lane and the lanes below it.
  __device__ static int sum_of_lanes_up_to(int x) {
    for (int step = 1; step < 32; step *= 2) {
      const int left = __shfl_up_sync(0xffffffffu, x, static_cast<unsigned>(step));
      if (lane_id() >= step) x += left;
    }
    return x;
  }

  const ragged_batch& batch_;
  const list_counts& counts_;
  const divisor& lists_;  // lists per sequence
  int heads_;             // KV heads that read from one list
  int group_, window_;
  line_units units_;
  int all_, chunk_;  // lists of the launch, and of each thread's chunk
  int* sums_;
};

/// Units [first, last) of one item: what a piece holds of it.
struct item_part {
  const sequence_rows& s;
  row_tile at;
  int first, last;
  int units;      ///< of the item
  int item_unit;  ///< where the item begins in the line

  __device__ bool whole() const { return first == 0 && last == units; }
};

/// The parts of items in the units [unit, end) of the line, in order: visit(part). `from` is the place of the first.
template <class Problem, class Line, class Visit>
__device__ void for_each_part(const Problem& p, const Line& line, int tile_rows, typename Line::place from, int unit,
                              int end, Visit&& visit) {
  for (auto [list, in_list] = from; unit < end; ++list, in_list = 0) {
    const int b = line.sequence(list), head = line.head(list);
    const sequence_rows s(p, b, head);
    const int per_item = line.units_per_item(list), of_list = line.units(list), tiles = line.tiles(list);
    while (in_list < of_list && unit < end) {
      const int item = in_list / per_item, first = in_list % per_item;
      const int last = first + (end - unit) < per_item ? first + (end - unit) : per_item;
      visit(item_part{s, {b, head + item / tiles, item % tiles * tile_rows}, first, last, per_item, unit - first});
      unit += last - first;
      in_list += last - first;
    }
  }
}

/// Rows of a tile that are not padding.
template <class Problem>
__device__ int rows_of_tile(const Problem& p, const sequence_rows& s, const row_tile& at, int tile_rows) {
  const index_t left = s.rows * p.group - at.begin;
  return left < tile_rows ? static_cast<int>(left) : tile_rows;
}

/// Writes zeros to the rows of all heads that read from lists without tokens: of every `step`-th list, from `first` on.
/// The first `threads` threads of the block call this.
template <int HeadDim, class Problem, class Line>
__device__ void write_empty_lists(const Problem& p, const Line& line, int first, int step, int threads) {
  for (int list = first; list < line.lists(); list += step) {
    if (line.length(list) != 0) continue;
    const int head = line.head(list), heads = p.lists.head_step != 0 ? 1 : p.kv_heads;
    const sequence_rows s(p, line.sequence(list), head);
    const index_t packed_rows = s.rows * p.group;
    for (index_t i = threadIdx.x; i < heads * packed_rows * HeadDim; i += threads) {
      const index_t row = i / HeadDim;
      write_result<HeadDim>(p, packed_offset(p, s, head + static_cast<int>(row / packed_rows), row % packed_rows),
                            static_cast<int>(i % HeadDim), 0.0f, nothing_seen);
    }
  }
}

}  // namespace kvsharer::inline v0::cuda::detail
