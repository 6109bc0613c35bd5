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
/// tokens of one KV head and tile of rows) stand in one line, sequence after sequence, and every block takes an equal
/// part of it. A block thus works on the end of one item, on whole items, and on the beginning of another; all it needs
/// to find them is the lengths, so a captured launch stays balanced while sequences grow. An item is a KV head and a
/// tile of rows of one sequence; the parts of an item lie in neighbouring blocks.
class decode_schedule {
 public:
  /// All members are called by whole warps.
  __device__ decode_schedule(const ragged_batch& batch, int kv_heads, int group, int unit_tokens)
      : batch_(batch), kv_heads_(kv_heads), group_(group), unit_tokens_(unit_tokens) {}

  __device__ index_t tiles(index_t b) const { return ceil_div(batch_.rows_of(b) * group_, warp_rows); }
  __device__ index_t items(index_t b) const { return kv_heads_ * tiles(b); }
  __device__ index_t units_per_item(index_t b) const { return ceil_div(batch_.length(b), unit_tokens_); }
  __device__ index_t units(index_t b) const { return items(b) * units_per_item(b); }

  /// Units of the sequences before `b`.
  __device__ index_t units_before(index_t b) const {
    index_t sum = 0;
    for (index_t i = lane_id(); i < b; i += 32) sum += units(i);
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    return sum;
  }
  __device__ index_t total() const { return units_before(batch_.sequences); }

  /// The sequence in which unit `u` < total() lies, and how far in.
  struct place {
    index_t sequence, unit;
  };
  __device__ place find(index_t u) const {
    index_t before = 0;
    for (index_t base = 0; base < batch_.sequences; base += 32) {
      const index_t b = base + lane_id();
      index_t through = b < batch_.sequences ? units(b) : 0;  // becomes the units up to b, from base on
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
    return {batch_.sequences, 0};
  }

 private:
  const ragged_batch& batch_;
  int kv_heads_, group_, unit_tokens_;
};

/// Results of parts of items, until they are joined: two places for each block, since only the first and the last item
/// of a block can be in parts. Normalised sums, and the logarithm (to base 2) of their weight.
struct decode_parts {
  float* sums;             // [2 * blocks][warp_rows][head_dim]
  float* weights;          // [2 * blocks][warp_rows]
  std::uint32_t* arrived;  // [blocks]: parts done of the item that begins in a block, all 0 between launches
  int blocks;

  static constexpr index_t floats(int blocks, int head_dim) { return index_t{2} * blocks * warp_rows * (head_dim + 1); }

  /// The first part of an item goes behind the part of another that the block may begin with.
  __device__ static index_t place(index_t block, bool first_of_item) { return 2 * block + (first_of_item ? 1 : 0); }
};

/// The blocks that have a part of an item.
struct item_blocks {
  index_t first, last;

  /// Of the item whose units begin at `begin`, where each block takes `quota` units.
  __device__ item_blocks(index_t begin, index_t units, index_t quota)
      : first(begin / quota), last((begin + units - 1) / quota) {}
};

}  // namespace kvsharer::inline v0::cuda::detail
