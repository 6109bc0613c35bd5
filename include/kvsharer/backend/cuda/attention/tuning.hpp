// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/config.hpp"

/// Constants of the attention kernels. Data only, readable by any compiler.
namespace kvsharer::inline v0::cuda::detail {

/// Rows of queries, and tokens, that a warp's matrix instructions take at once.
inline constexpr int warp_rows = 16, warp_tokens = 16;

/// Numbers from one row of a tile in shared memory to the next: 16 bytes more than the row, so that rows lie an odd
/// multiple of 16 bytes apart and eight rows never meet in one bank.
KVSHARER_HD constexpr int tile_stride(int head_dim, int element_bytes) { return head_dim + 16 / element_bytes; }

KVSHARER_HD constexpr int tile_bytes(int tokens, int head_dim, int element_bytes) {
  return tokens * tile_stride(head_dim, element_bytes) * element_bytes;
}

/// The shape of a decode kernel: each warp streams tokens of its own, with `stages` steps of warp_tokens in flight. All
/// devices run the same kernel; the launch passes the number of stages that fit.
struct decode_tuning {
  static constexpr int least_stages = 2, most_stages = 3;

  int warps = 4;
  int blocks_per_multiprocessor = 2;

  KVSHARER_HD constexpr int blocks_of(int multiprocessors) const { return multiprocessors * blocks_per_multiprocessor; }
  KVSHARER_HD constexpr int unit_tokens() const { return warps * warp_tokens; }
  KVSHARER_HD constexpr int step_bytes(int head_dim, int element_bytes) const {
    return 2 * tile_bytes(warp_tokens, head_dim, element_bytes);
  }
  /// Bytes in which a block finds its part of the line of units: a number per thread.
  KVSHARER_HD constexpr int line_bytes() const { return warps * 32 * 4; }
  KVSHARER_HD constexpr int shared_bytes(int stages, int head_dim, int element_bytes) const {
    return line_bytes() + tile_bytes(warp_rows, head_dim, element_bytes) +
           warps * stages * step_bytes(head_dim, element_bytes);
  }
  /// The most stages with which two blocks fit a multiprocessor of a compute capability (10 x major + minor). A block
  /// has (stages - 1) x warps x step_bytes in flight; 3 TB/s at a latency of 800 ns need 18 KB per multiprocessor.
  constexpr int stages_on(int capability, int head_dim, int element_bytes) const {
    const bool three = capability >= 90 && shared_bytes(most_stages, head_dim, element_bytes) <= 112 * 1024;
    return three ? most_stages : least_stages;
  }
  /// Numbers of the warps' results, which a block joins in the memory of its tiles.
  KVSHARER_HD constexpr int joined_floats(int head_dim) const { return warps * warp_rows * (head_dim + 2); }
  /// Rows of an item of `parts` parts that are merged at once. Their weights, a float per row and part, lie where
  /// results were joined, and end before the flag after them, which other threads may still read.
  KVSHARER_HD constexpr int merged_rows(int parts, int head_dim) const {
    const int rows = joined_floats(head_dim) / parts;
    return rows < warp_rows ? rows : warp_rows;
  }
};

/// The most shared memory that a block may have on devices of a compute capability (10 x major + minor).
constexpr int shared_limit(int capability) {
  if (capability >= 90) return 227 * 1024;
  return capability == 80 || capability == 87 ? 163 * 1024 : 99 * 1024;
}

/// The most warps for which two blocks of two stages fit the smallest multiprocessor.
constexpr decode_tuning tune_decode(int head_dim, int element_bytes) {
  decode_tuning t;
  while (t.warps > 1 && t.shared_bytes(decode_tuning::least_stages, head_dim, element_bytes) > 99 * 1024) t.warps /= 2;
  return t;
}

/// A block of a prefill kernel: each warp has warp_rows rows of queries, and all warps share tiles of unit_tokens.
struct prefill_tuning {
  int warps = 4;

  KVSHARER_HD constexpr int rows() const { return warps * warp_rows; }
  KVSHARER_HD constexpr int unit_tokens() const { return warps * warp_tokens; }
  KVSHARER_HD constexpr int shared_bytes(int head_dim, int element_bytes) const {
    return tile_bytes(rows(), head_dim, element_bytes) + 2 * 2 * tile_bytes(unit_tokens(), head_dim, element_bytes);
  }
};

constexpr prefill_tuning tune_prefill(int head_dim, int element_bytes) {
  prefill_tuning t;
  while (t.warps > 1 && t.shared_bytes(head_dim, element_bytes) > 99 * 1024) t.warps /= 2;
  return t;
}

/// Tunings as types, since kernels cannot be templates over structures.
template <int HeadDim, int ElementBytes>
struct tuned_decode {
  static constexpr decode_tuning value = tune_decode(HeadDim, ElementBytes);
  static_assert(value.shared_bytes(decode_tuning::least_stages, HeadDim, ElementBytes) <= shared_limit(86));
};
template <int HeadDim, int ElementBytes>
struct tuned_prefill {
  static constexpr prefill_tuning value = tune_prefill(HeadDim, ElementBytes);
  static_assert(value.shared_bytes(HeadDim, ElementBytes) <= shared_limit(86));
};

}  // namespace kvsharer::inline v0::cuda::detail
