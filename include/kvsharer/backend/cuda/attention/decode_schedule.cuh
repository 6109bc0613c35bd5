// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kvsharer/backend/cuda/attention/tuning.hpp"
#include "kvsharer/backend/cuda/attention/warp_product.cuh"
#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda::detail {

__device__ inline index_t ceil_div(index_t a, index_t b) { return (a + b - 1) / b; }

/// How decode attention is spread over a fixed number of blocks, whatever the lengths are: all units of work (some
/// of the tokens within the window, of one KV head and tile of rows) stand in one line, sequence after sequence, which
/// is cut into pieces. A piece thus is the end of one item, whole items, and the beginning of another; all that a block
/// needs to find them is the lengths, so a captured launch stays balanced while sequences grow. An item is a KV head
/// and a tile of rows of one sequence; the parts of an item lie in neighbouring pieces. The items of one list of tokens
/// have equal lengths, and lists stand in the line sequence after sequence, head after head.
class decode_schedule {
 public:
  /// All members are called by whole warps.
  __device__ decode_schedule(const ragged_batch& batch, const list_counts& counts, int kv_heads, int group,
                             int unit_tokens, int window)
      : batch_(batch),
        counts_(counts),
        lists_(counts.head_step != 0 ? kv_heads : 1),
        heads_(counts.head_step != 0 ? 1 : kv_heads),
        group_(group),
        unit_tokens_(unit_tokens),
        window_(window) {}

  /// Lists of all sequences of the launch.
  __device__ index_t lists() const { return batch_.sequences * lists_; }
  /// The sequence of a list, and the first KV head that reads from it.
  __device__ index_t sequence(index_t list) const { return lists_ == 1 ? list : list / lists_; }
  __device__ int head(index_t list) const { return lists_ == 1 ? 0 : static_cast<int>(list % lists_); }
  __device__ index_t length(index_t list) const { return counts_.of(batch_.place(sequence(list)), head(list)); }

  __device__ index_t tiles(index_t list) const { return ceil_div(batch_.rows_of(sequence(list)) * group_, warp_rows); }
  __device__ index_t items(index_t list) const { return heads_ * tiles(list); }
  /// From the first token that a row of the sequence sees.
  __device__ index_t units_per_item(index_t list) const {
    const index_t tokens = length(list), before = tokens - batch_.rows_of(sequence(list)) + 1 - window_;
    return ceil_div(tokens - (before > 0 ? before : 0), unit_tokens_);
  }
  __device__ index_t units(index_t list) const { return items(list) * units_per_item(list); }

  /// Units of all lists.
  __device__ index_t total() const {
    index_t sum = 0;
    for (index_t i = lane_id(); i < lists(); i += 32) sum += units(i);
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    return sum;
  }

  /// The list in which unit `u` < total() lies, and how far in.
  struct place {
    index_t list, unit;
  };
  __device__ place find(index_t u) const {
    index_t before = 0;
    for (index_t base = 0; base < lists(); base += 32) {
      const index_t b = base + lane_id();
      index_t through = b < lists() ? units(b) : 0;  // becomes the units up to b, from base on
      const index_t own = through;
      for (int step = 1; step < 32; step *= 2) {
        const index_t left = __shfl_up_sync(0xffffffffu, through, static_cast<unsigned>(step));
        if (lane_id() >= step) through += left;
      }
      const unsigned beyond = __ballot_sync(0xffffffffu, before + through > u);
      if (beyond != 0) {
        const int lane = __ffs(static_cast<int>(beyond)) - 1;
        const index_t begin = before + __shfl_sync(0xffffffffu, through - own, lane);
        return {base + lane, u - begin};
      }
      before += __shfl_sync(0xffffffffu, through, 31);
    }
    return {lists(), 0};
  }

 private:
  const ragged_batch& batch_;
  const list_counts& counts_;
  int lists_, heads_;  // lists of a sequence, and KV heads of a list
  int group_, unit_tokens_, window_;
};

/// Where the line of units is cut. Every block has one large piece of its own. Memory does not serve all
/// multiprocessors alike, so equal pieces end at different times; the end of a long line is left in small pieces for
/// whoever is done first. That gains 1 to 2.5 % of long lines and costs more than it gains in shorter ones, since each
/// piece begins with nothing on its way (H100). Which block takes a piece changes nothing in the result.
class decode_pieces {
 public:
  static constexpr int most_of_block = 4;  ///< pieces for each block, its own included

  __device__ decode_pieces(index_t total, int blocks) : total_(total), blocks_(blocks) {
    const index_t quota = ceil_div(total, blocks);
    own_ = quota - quota / shared_share;
    const index_t left = total - own_end();
    if (quota < least_quota || left <= 0) {
      own_ = quota;
      return;
    }
    small_ = ceil_div(left, blocks * index_t{most_of_block - 1});
    if (small_ < least_small) small_ = least_small;
    small_pieces_ = ceil_div(left, small_);
  }

  __device__ index_t count() const { return blocks_ + small_pieces_; }
  __device__ bool any_small() const { return small_pieces_ > 0; }
  /// Pieces that nobody needs begin at the end of the line.
  __device__ index_t begin(index_t piece) const {
    const index_t at = piece < blocks_ ? piece * own_ : own_end() + (piece - blocks_) * small_;
    return at < total_ ? at : total_;
  }
  /// The piece in which a unit lies.
  __device__ index_t of(index_t unit) const {
    return unit < own_end() || small_pieces_ == 0 ? unit / own_ : blocks_ + (unit - own_end()) / small_;
  }

 private:
  static constexpr index_t shared_share = 8;  ///< one part in so many of the line is cut small
  static constexpr index_t least_small = 2;   ///< units of a small piece: less is all beginning and end
  static constexpr index_t least_quota = 96;  ///< units of a block; shorter lines are not shared

  __device__ index_t own_end() const { return blocks_ * own_; }

  index_t total_, blocks_, own_, small_ = 0, small_pieces_ = 0;
};

/// Results of parts of items, until they are joined: two places for each piece, since only the first and the last item
/// of a piece can be in parts. Normalised sums, and the logarithm (to base 2) of their weight.
struct decode_parts {
  float* sums;             // [2 * pieces][warp_rows][head_dim]
  float* weights;          // [2 * pieces][warp_rows]
  std::uint32_t* arrived;  // [pieces]: parts done of the item that begins in a piece, all 0 between launches
  std::uint32_t* taken;    // small pieces that have been asked for, 0 between launches
  int blocks;
  int stages;  // of each warp's tiles

  static constexpr int pieces(int blocks) { return blocks * decode_pieces::most_of_block; }
  static constexpr index_t floats(int blocks, int head_dim) {
    return index_t{2} * pieces(blocks) * warp_rows * (head_dim + 1);
  }

  /// The first part of an item goes behind the part of another that the piece may begin with.
  __device__ static index_t place(index_t piece, bool first_of_item) { return 2 * piece + (first_of_item ? 1 : 0); }
};

/// The pieces that have a part of an item.
struct item_pieces {
  index_t first, last;

  /// Of the item whose units begin at `begin`.
  __device__ item_pieces(const decode_pieces& pieces, index_t begin, index_t units)
      : first(pieces.of(begin)), last(pieces.of(begin + units - 1)) {}
};

}  // namespace kvsharer::inline v0::cuda::detail
