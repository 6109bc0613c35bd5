// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kvsharer/backend/cuda/attention/tuning.hpp"
#include "kvsharer/backend/cuda/attention/warp_product.cuh"
#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/core/divisor.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda::detail {

__device__ inline int ceil_div(int a, int b) { return (a + b - 1) / b; }

/// How decode attention is spread over a fixed number of blocks, whatever the lengths are. A unit of work is a number
/// of tokens within the window, for one KV head and one tile of rows. All units stand in one line, sequence after
/// sequence, head after head, and the line is cut into pieces. An item is one KV head and one tile of rows of one
/// sequence; a piece is the end of one item, whole items, and the beginning of another, so the parts of an item lie in
/// neighbouring pieces. A block finds its pieces from the lengths alone, so a captured launch stays balanced while
/// sequences grow. All items of one list of tokens have the same length.
///
/// All numbers have 32 bits, whose divisions are fast: a line of 2^31 units is more than any device's memory.
template <int Threads>
class decode_schedule {
 public:
  /// Words of shared memory that `prepare` fills.
  static constexpr int shared_words = Threads;

  /// `sums` is shared memory for shared_words numbers that no other code writes. Whole warps call all members.
  __device__ decode_schedule(const ragged_batch& batch, const list_counts& counts, const divisor& lists, int kv_heads,
                             int group, int unit_tokens, int window, int* sums)
      : batch_(batch),
        counts_(counts),
        lists_(lists),
        heads_(counts.head_step != 0 ? 1 : kv_heads),
        group_(group),
        unit_tokens_(unit_tokens),
        window_(window),
        all_(static_cast<int>(batch.sequences) * static_cast<int>(lists.value())),
        chunk_(all_ <= few_lists ? all_ : ceil_div(all_, Threads)),
        sums_(sums) {}

  /// The whole block calls this before `total` and `find`. With many lists, it sums the units up to the end of each
  /// thread's chunk of them.
  __device__ void prepare() {
    if (all_ <= few_lists) return;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
    int through = 0;
    const int end = min_of(all_, (thread + 1) * chunk_);
    for (int list = thread * chunk_; list < end; ++list) through += units(list);
    through = sum_of_lanes_up_to(through);
    if (lane_id() == 31) sums_[warp] = through;
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

  __device__ int tiles(int list) const { return ceil_div(rows(list) * group_, warp_rows); }
  __device__ int items(int list) const { return heads_ * tiles(list); }
  /// Counted from the first token that a row of the sequence sees.
  __device__ int units_per_item(int list) const {
    const int tokens = length(list), before = tokens - rows(list) + 1 - window_;
    return ceil_div(tokens - (before > 0 ? before : 0), unit_tokens_);
  }
  __device__ int units(int list) const { return items(list) * units_per_item(list); }

  /// Units of all lists together.
  __device__ int total() const {
    if (all_ > few_lists) return sums_[Threads - 1];
    int sum = 0;
    for (int i = lane_id(); i < all_; i += 32) sum += units(i);
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    return sum;
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
  int group_, unit_tokens_, window_;
  int all_, chunk_;  // lists of the launch, and of each thread's chunk
  int* sums_;
};

/// Where the line of units is cut. Every block has one large piece of its own. Memory does not serve all
/// multiprocessors alike, so equal pieces end at different times; the end of a long line is cut into small pieces for
/// the blocks that finish first. That gains 1 to 2.5 % on long lines and costs more than it gains on shorter ones,
/// since each piece begins with nothing in flight (H100). The result does not depend on which block takes a piece.
class decode_pieces {
 public:
  static constexpr int most_of_block = 4;  ///< pieces per block, its own included

  __device__ decode_pieces(int total, int blocks) : total_(total), blocks_(blocks) {
    const int quota = ceil_div(total, blocks);
    own_ = quota - quota / shared_share;
    const int left = total - own_end();
    if (quota < least_quota || left <= 0) {
      own_ = quota;
      return;
    }
    small_ = ceil_div(left, blocks * (most_of_block - 1));
    if (small_ < least_small) small_ = least_small;
    small_pieces_ = ceil_div(left, small_);
  }

  __device__ int count() const { return blocks_ + small_pieces_; }
  __device__ bool any_small() const { return small_pieces_ > 0; }
  /// Unused pieces begin at the end of the line.
  __device__ int begin(int piece) const {
    const int at = piece < blocks_ ? piece * own_ : own_end() + (piece - blocks_) * small_;
    return at < total_ ? at : total_;
  }
  /// The piece in which a unit lies.
  __device__ int of(int unit) const {
    return unit < own_end() || small_pieces_ == 0 ? unit / own_ : blocks_ + (unit - own_end()) / small_;
  }

 private:
  static constexpr int shared_share = 8;  ///< 1 / shared_share of the line is cut into small pieces
  static constexpr int least_small = 2;   ///< units of a small piece: a smaller one is all start-up and end
  static constexpr int least_quota = 96;  ///< units per block; shorter lines have no small pieces

  __device__ int own_end() const { return blocks_ * own_; }

  int total_, blocks_, own_, small_ = 0, small_pieces_ = 0;
};

/// Results of parts of items, until they are joined: two places per piece, since only the first and the last item of a
/// piece can be split. Normalised sums, and the logarithm (to base 2) of their weight.
struct decode_parts {
  float* sums;             // [2 * pieces][warp_rows][head_dim]
  float* weights;          // [2 * pieces][warp_rows]
  std::uint32_t* arrived;  // [pieces]: finished parts of the item that begins in a piece, 0 between launches
  std::uint32_t* taken;    // small pieces that were taken, 0 between launches
  int blocks;
  int stages;  // of each warp's tiles

  static constexpr int pieces(int blocks) { return blocks * decode_pieces::most_of_block; }
  static constexpr index_t floats(int blocks, int head_dim) {
    return index_t{2} * pieces(blocks) * warp_rows * (head_dim + 1);
  }

  /// The first part of an item goes after the part of another item with which the piece may begin.
  __device__ static index_t place(int piece, bool first_of_item) { return 2 * piece + (first_of_item ? 1 : 0); }
};

/// The pieces that hold parts of one item.
struct item_pieces {
  int first, last;

  /// For the item whose units begin at `begin`.
  __device__ item_pieces(const decode_pieces& pieces, int begin, int units)
      : first(pieces.of(begin)), last(pieces.of(begin + units - 1)) {}
};

}  // namespace kvsharer::inline v0::cuda::detail
