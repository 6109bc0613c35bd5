// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/config.hpp"

/// Constants of prefill attention by products of warpgroups, which its names call wide. Data only, readable by any
/// compiler.
namespace kvsharer::inline v0::cuda::detail {

/// The threads of a warpgroup, and the rows that one of its products has.
inline constexpr int warpgroup_threads = 128, warpgroup_rows = 64;

/// A block: one warpgroup copies tiles of keys and values, the others multiply, warpgroup_rows rows of queries each.
struct wide_tuning {
  int consumers = 2;  ///< warpgroups that multiply
  int tokens = 128;   ///< of a tile
  int stages = 3;     ///< tiles of keys, and of values, in shared memory: as many as fit with 128 channels
  /// Registers of a thread. Together the warpgroups have what the kernel begins with. A consumer of 128 channels holds
  /// 64 sums, 64 scores and 32 registers of weights; with fewer than these the compiler spills.
  int producer_registers = 88, consumer_registers = 208;

  KVSHARER_HD constexpr int rows() const { return consumers * warpgroup_rows; }
  KVSHARER_HD constexpr int threads() const { return (consumers + 1) * warpgroup_threads; }
  /// Dynamic shared memory: queries, keys and values. Tiles begin at multiples of 1024 bytes, which the block's memory
  /// need not do.
  KVSHARER_HD constexpr int shared_bytes(int head_dim) const {
    return 1024 + (rows() + 2 * stages * tokens) * head_dim * 2;
  }
  /// Are there so many registers? A multiprocessor has 65536 and gives them in eights.
  constexpr bool registers_fit() const {
    return producer_registers + consumers * consumer_registers <= (consumers + 1) * (65536 / threads() / 8 * 8);
  }
};

/// The tuning as a type, since kernels cannot be templates over structures.
template <int HeadDim>
struct tuned_wide {
  static constexpr wide_tuning value{};
  static_assert(value.registers_fit());
  static_assert(value.shared_bytes(HeadDim) + 1024 <= 227 * 1024, "tiles and barriers must fit a multiprocessor");
};

}  // namespace kvsharer::inline v0::cuda::detail
