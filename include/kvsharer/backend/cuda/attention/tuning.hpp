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

/// A block of the decode kernel that copies runs of rows in bulk. One warp copies units of `unit_tokens` tokens ahead,
/// and the others multiply, each with a tile of them. A block leaves room for blocks of the next launch: nearly half of
/// a multiprocessor's shared memory, and half of its registers.
struct decode_tuning {
  static constexpr int most_stages = 6, half_shared_bytes = 113 * 1024;
  static constexpr int lone_shared_bytes = half_shared_bytes + 1024;  // two such blocks do not fit a multiprocessor

  int warps = 4;                      // that multiply
  int blocks_per_multiprocessor = 1;  // of a launch
  int resident_blocks = 2;            // for which a multiprocessor has registers: those of the next launch, too

  KVSHARER_HD constexpr int blocks_of(int multiprocessors) const { return multiprocessors * blocks_per_multiprocessor; }
  /// Words in which the threads of a block find its piece of the line of units.
  KVSHARER_HD static constexpr int line_words(int threads) { return threads + 32; }

  KVSHARER_HD constexpr int threads() const { return 32 * (warps + 1); }
  KVSHARER_HD constexpr int unit_tokens() const { return warps * warp_tokens; }
  /// Bytes of the keys and values of a unit.
  KVSHARER_HD constexpr int unit_bytes(int token_bytes) const { return 2 * unit_tokens() * token_bytes; }
  /// Floats from one joined row to the next: the sums, their base and total, and what keeps rows apart in banks.
  KVSHARER_HD static constexpr int joined_stride(int head_dim) { return head_dim + 4; }
  /// Where the warps' results are joined; before that, the line of units.
  KVSHARER_HD constexpr int joined_bytes(int rows, int head_dim) const {
    const int joined = warps * rows * joined_stride(head_dim) * 4, line = 4 * line_words(threads());
    return joined > line ? joined : line;
  }
  /// Two barriers for each stage, and a word for what one thread tells the others.
  KVSHARER_HD static constexpr int barrier_bytes() { return most_stages * 16 + 16; }
  KVSHARER_HD constexpr int shared_bytes(int stages, int rows, int head_dim, int token_bytes) const {
    return stages * unit_bytes(token_bytes) + joined_bytes(rows, head_dim) + barrier_bytes();
  }
  /// 3 TB/s at a latency of 800 ns need 18 KB in flight per multiprocessor; a stage more is being worked on.
  KVSHARER_HD constexpr int stages(int rows, int head_dim, int token_bytes) const {
    int n = most_stages;
    while (n > 1 && shared_bytes(n, rows, head_dim, token_bytes) > half_shared_bytes) --n;
    return n;
  }
};

/// Four warps, or as many as have room for three stages of 8 rows.
constexpr decode_tuning tune_decode(int head_dim, int token_bytes) {
  decode_tuning t;
  while (t.warps > 1 && t.stages(8, head_dim, token_bytes) < 3) t.warps /= 2;
  return t;
}

/// A block of the decode kernel that looks up every row: each warp streams tokens of its own, with `stages` steps of
/// warp_tokens in flight. The launch passes the number of stages that fit.
struct row_tuning {
  static constexpr int least_stages = 2, most_stages = 3;

  int warps = 4;
  int blocks_per_multiprocessor = 2;

  KVSHARER_HD constexpr int blocks_of(int multiprocessors) const { return multiprocessors * blocks_per_multiprocessor; }
  KVSHARER_HD constexpr int unit_tokens() const { return warps * warp_tokens; }
  KVSHARER_HD constexpr int step_bytes(int head_dim, int element_bytes) const {
    return 2 * tile_bytes(warp_tokens, head_dim, element_bytes);
  }
  KVSHARER_HD constexpr int line_bytes() const { return 4 * decode_tuning::line_words(warps * 32); }
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
  /// Where the warps' results are joined, in the memory of their tiles, and a word for what one thread tells the
  /// others.
  KVSHARER_HD constexpr int joined_bytes(int head_dim) const {
    return warps * warp_rows * decode_tuning::joined_stride(head_dim) * 4 + 16;
  }
};

/// The most shared memory that a block may have on devices of a compute capability (10 x major + minor).
constexpr int shared_limit(int capability) {
  if (capability >= 90) return 227 * 1024;
  return capability == 80 || capability == 87 ? 163 * 1024 : 99 * 1024;
}

/// The most warps for which two blocks of two stages fit the smallest multiprocessor.
constexpr row_tuning tune_rows(int head_dim, int element_bytes) {
  row_tuning t;
  while (t.warps > 1 && t.shared_bytes(row_tuning::least_stages, head_dim, element_bytes) > 99 * 1024) t.warps /= 2;
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
template <int HeadDim, int TokenBytes>
struct tuned_decode {
  static constexpr decode_tuning value = tune_decode(HeadDim, TokenBytes);
};
template <int HeadDim, int ElementBytes>
struct tuned_rows {
  static constexpr row_tuning value = tune_rows(HeadDim, ElementBytes);
  static_assert(value.shared_bytes(row_tuning::least_stages, HeadDim, ElementBytes) <= shared_limit(86));
};
template <int HeadDim, int ElementBytes>
struct tuned_prefill {
  static constexpr prefill_tuning value = tune_prefill(HeadDim, ElementBytes);
  static_assert(value.shared_bytes(HeadDim, ElementBytes) <= shared_limit(86));
};

}  // namespace kvsharer::inline v0::cuda::detail
