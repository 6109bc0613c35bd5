// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/warp_product.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

/// The order in which blocks take the tiles of rows of a ragged prefill: those that see the most tokens first,
/// whichever sequence they are of, so that the last ones are short.
namespace kvsharer::inline v0::cuda::detail {

/// A tile of packed rows with all that the warpgroups must know. No more work: head is -1.
struct wide_item {
  int sequence, head;   ///< of the batch; KV head
  int begin;            ///< first packed row
  int packed_rows;      ///< of the sequence
  int place, length;    ///< of the sequence in the views; tokens of the list
  int rows, first_row;  ///< of the sequence in the launch
  int first, end;       ///< the tokens that its rows see, as far as there is room for them

  KVSHARER_HD int visible(int packed, int group) const { return length - rows + packed / group + 1; }
};

/// One sequence, as the order counts its tiles of `tile` packed rows.
struct wide_sequence {
  int rows, length, group, window, tile;

  KVSHARER_HD int tiles() const { return (rows * group + tile - 1) / tile; }
  /// How many tiles, the last ones, have a row that sees more than `limit` tokens, those before its window counted but
  /// no more than a window of them. All of them for a limit of -1.
  KVSHARER_HD int over(int limit) const {
    if (limit < 0) return tiles();
    if (limit >= window) return 0;
    const int row = limit - (length - rows);  // the first that sees so many
    if (row <= 0) return tiles();
    return row >= rows ? 0 : tiles() - row * group / tile;
  }
};

/// Finds the item of a rank. One warp calls its members. Heads go together in sections whose keys and values
/// fit `l2_bytes`; in a section, tiles descend by the tokens they see, in steps of `step`, and a tile's heads are
/// neighbours. The place of an item takes O(log(tokens / step) x sequences / 32), for a single sequence O(1).
template <class Problem>
class wide_order {
 public:
  __device__ wide_order(const Problem& p, int head_dim, int tile, int step, index_t l2_bytes)
      : p_(p), tile_(tile), step_(step) {
    const int sequences = static_cast<int>(p.batch.sequences);
    float tokens = 0;
#pragma unroll 1
    for (int b = lane_id(); b < sequences; b += 32) {
      const wide_sequence s = sequence(b, 0);
      tiles_ += s.tiles();
      tokens += static_cast<float>(s.length);
    }
    tiles_ = sum_of_lanes(tiles_);
    tokens = sum_of_lanes(tokens);
    const float bytes = tokens * static_cast<float>(2 * head_dim) * sizeof(typename Problem::element);
    const float fit = static_cast<float>(l2_bytes) / (bytes + 1.0f);
    section_ = fit < 1.0f ? 1 : fit > static_cast<float>(p.kv_heads) ? p.kv_heads : static_cast<int>(fit);
  }

  __device__ int items() const { return tiles_ * p_.kv_heads; }

  /// Precondition: 0 <= rank < items().
  __device__ wide_item find(int rank) const {
    const int of_section = section_ * tiles_, first_head = rank / of_section * section_;
    const int left = p_.kv_heads - first_head, heads = left < section_ ? left : section_;
    const int in_section = rank % of_section, head = first_head + in_section % heads;
    return p_.batch.sequences == 1 ? item(0, head, tiles_ - 1 - in_section / heads) : search(head, in_section / heads);
  }

 private:
  __device__ wide_sequence sequence(int b, int head) const {
    const index_t place = p_.batch.place(b);
    return {static_cast<int>(p_.batch.rows_of(b)), static_cast<int>(p_.lists.of(place, head)), p_.group, p_.window,
            tile_};
  }

  template <class T>
  __device__ static T sum_of_lanes(T x) {
#pragma unroll
    for (int apart = 16; apart > 0; apart /= 2) x += __shfl_xor_sync(0xffffffffu, x, apart);
    return x;
  }

  /// Tiles of a head with a row that sees more than `level` steps, in all sequences.
  __device__ int over(int head, int level) const {
    int count = 0;
#pragma unroll 1
    for (int b = lane_id(); b < static_cast<int>(p_.batch.sequences); b += 32)
      count += sequence(b, head).over(level * step_);
    return sum_of_lanes(count);
  }

  /// The tile of a head that has `position` tiles before it.
  __device__ wide_item search(int head, int position) const {
    int below = -1, level = 0;  // the least level that no more than `position` tiles are over lies in (below, level]
    while (over(head, level) > position) {
      below = level;
      level = 2 * level + 1;
    }
    while (level - below > 1) {
      const int middle = (below + level) / 2;
      (over(head, middle) > position ? below : level) = middle;
    }
    int before = position - over(head, level);  // among those over level - 1, sequence after sequence
    const int lower = level == 0 ? -1 : (level - 1) * step_;
    for (int first = 0;; first += 32) {
      const int b = first + lane_id();
      int of_lane = 0, longer = 0, tiles = 0;
      if (b < static_cast<int>(p_.batch.sequences)) {
        const wide_sequence s = sequence(b, head);
        tiles = s.tiles();
        longer = s.over(level * step_);
        of_lane = s.over(lower) - longer;
      }
      int up_to = of_lane;
#pragma unroll
      for (int apart = 1; apart < 32; apart *= 2) {
        const int lower_lanes = __shfl_up_sync(0xffffffffu, up_to, static_cast<unsigned>(apart));
        if (lane_id() >= apart) up_to += lower_lanes;
      }
      const unsigned past = __ballot_sync(0xffffffffu, up_to > before);
      if (past != 0) {
        const int at = __ffs(static_cast<int>(past)) - 1;
        const int tile = tiles - longer - 1 - (before - (up_to - of_lane));
        return item(first + at, head, __shfl_sync(0xffffffffu, tile, at));
      }
      before -= __shfl_sync(0xffffffffu, up_to, 31);
    }
  }

  __device__ wide_item item(int b, int head, int tile) const {
    const sequence_rows s(p_, b, head);
    wide_item i{};
    i.sequence = b;
    i.head = head;
    i.begin = tile * tile_;
    i.rows = static_cast<int>(s.rows);
    i.packed_rows = i.rows * p_.group;
    i.place = static_cast<int>(s.place);
    i.length = static_cast<int>(s.length);
    i.first_row = static_cast<int>(s.first_row);
    const int last = (i.begin + tile_ < i.packed_rows ? i.begin + tile_ : i.packed_rows) - 1;
    const int before = i.visible(i.begin, p_.group) - p_.window;
    i.first = before > 0 ? before : 0;
    i.end = readable_end(p_, b, i.length > 0 ? i.visible(last, p_.group) : 0);
    return i;
  }

  const Problem& p_;
  int tile_, step_;
  int tiles_ = 0;    // of one head, in all sequences
  int section_ = 1;  // heads of a section
};

}  // namespace kvsharer::inline v0::cuda::detail
