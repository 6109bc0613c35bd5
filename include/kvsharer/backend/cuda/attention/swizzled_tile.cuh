// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kvsharer/config.hpp"

/// Tiles in shared memory as products of warpgroups read them.
namespace kvsharer::inline v0::cuda::detail {

/// Rows of HeadDim 16-bit numbers: [HeadDim / 64][Rows][64]. Pieces of 16 bytes are swizzled: piece i of row r lies at
/// place i ^ (r % 8) of its 128 bytes, so that neither eight rows nor eight columns meet in one bank. A tile begins at
/// a multiple of 1024 bytes. The layout is that of 128-byte swizzling in the PTX manual (section on wgmma's matrices in
/// shared memory).
template <int HeadDim, int Rows>
struct swizzled_tile {
  static_assert(HeadDim % 64 == 0 && Rows % 8 == 0);
  static constexpr int row_bytes = 128, eight_rows = 8 * row_bytes;
  static constexpr int block_bytes = Rows * row_bytes;  ///< from 64 channels to the next
  static constexpr int bytes = HeadDim / 64 * block_bytes;

  /// Where 16 bytes of a row lie: channels 8 * piece and on.
  KVSHARER_HD static constexpr int offset(int row, int piece) {
    return piece / 8 * block_bytes + row * row_bytes + ((piece % 8) ^ (row % 8)) * 16;
  }

  /// The operand of which the tile's rows are rows, from `first_row` on (a multiple of 8); `channels_16` takes the step
  /// of 16 channels. Groups of 8 rows lie eight_rows apart; the other distance does not matter within 128 bytes.
  KVSHARER_HD static constexpr std::uint64_t rows(std::uint32_t address, int first_row) {
    return descriptor(address + static_cast<std::uint32_t>(first_row * row_bytes), 16);
  }
  KVSHARER_HD static constexpr std::uint64_t channels_16(std::uint64_t operand, int step) {
    return operand + static_cast<std::uint64_t>((step / 4 * block_bytes + step % 4 * 32) / 16);
  }

  /// The operand of which the tile's rows are columns, along which the sum runs; `rows_16` takes the step of 16 rows.
  KVSHARER_HD static constexpr std::uint64_t columns(std::uint32_t address) { return descriptor(address, block_bytes); }
  KVSHARER_HD static constexpr std::uint64_t rows_16(std::uint64_t operand, int step) {
    return operand + static_cast<std::uint64_t>(step * 2 * eight_rows / 16);
  }

 private:
  /// Address, distance of blocks and distance of eight rows, all over 16, and the code of the 128-byte swizzle. The
  /// address fits its 14 bits, so that adding to the descriptor adds to the address.
  KVSHARER_HD static constexpr std::uint64_t descriptor(std::uint32_t address, int blocks_apart) {
    return std::uint64_t{address / 16} | static_cast<std::uint64_t>(blocks_apart / 16) << 16 |
           std::uint64_t{eight_rows / 16} << 32 | std::uint64_t{1} << 62;
  }
};

}  // namespace kvsharer::inline v0::cuda::detail
