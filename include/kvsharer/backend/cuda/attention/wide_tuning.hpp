// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/config.hpp"

/// Constants of prefill attention by products of warpgroups. Data only, readable by any compiler.
namespace kvsharer::inline v0::cuda::detail {

/// The threads of a warpgroup, and the rows that one of its products has.
inline constexpr int warpgroup_threads = 128, warpgroup_rows = 64;

/// A block: one warpgroup copies tiles of keys and values, the others multiply, warpgroup_rows rows of queries each.
struct wide_tuning {
  int consumers = 2;  ///< warpgroups that multiply
  int tokens = 128;   ///< of a tile
  int stages = 2;     ///< tiles of keys, and of values, in shared memory; a power of 2
  /// Registers of a thread. Together the warpgroups have what the kernel begins with, 65536 a multiprocessor. A
  /// consumer of 128 channels holds 64 sums, 64 scores and 32 registers of weights.
  int producer_registers = 40, consumer_registers = 232;

  KVSHARER_HD constexpr int rows() const { return consumers * warpgroup_rows; }
  KVSHARER_HD constexpr int threads() const { return (consumers + 1) * warpgroup_threads; }
  /// Bytes of a tile of keys or of values, and of queries.
  KVSHARER_HD constexpr int tile_bytes(int head_dim) const { return tokens * head_dim * 2; }
  KVSHARER_HD constexpr int query_bytes(int head_dim) const { return rows() * head_dim * 2; }
  /// Dynamic shared memory: tiles begin at multiples of 1024 bytes, which the block's memory need not do.
  KVSHARER_HD constexpr int shared_bytes(int head_dim) const {
    return 1024 + query_bytes(head_dim) + 2 * stages * tile_bytes(head_dim);
  }
};

/// With 64 channels the products take half as long and the softmax does not, and a third consumer fits.
constexpr wide_tuning tune_wide(int head_dim) {
  wide_tuning t;
  if (head_dim == 64) {
    t.consumers = 3;
    t.producer_registers = 32;
    t.consumer_registers = 160;
  }
  return t;
}

/// The tuning as a type, since kernels cannot be templates over structures.
template <int HeadDim>
struct tuned_wide {
  static constexpr wide_tuning value = tune_wide(HeadDim);
  static constexpr int registers_of_thread = 65536 / value.threads() / 8 * 8;  // with which a kernel begins
  static_assert(value.producer_registers + value.consumers * value.consumer_registers <=
                (value.consumers + 1) * registers_of_thread);
  static_assert(value.shared_bytes(HeadDim) + 1024 <= 227 * 1024, "tiles and barriers must fit a multiprocessor");
};

}  // namespace kvsharer::inline v0::cuda::detail
