// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda::detail {

/// Where the line of units (decode_line) is cut into one piece for each block. A piece is the end of one item, whole
/// items, and the beginning of another; so the parts of an item lie in neighbouring pieces, and a piece has at most two
/// parts of items. Each part costs a trip through scratch memory and a place in a merge. So where all items have
/// equally many units, pieces hold whole items, or items are cut into equal parts, if the longest piece is then at most
/// 3 % longer than in an even cut.
class decode_cuts {
 public:
  /// `even_units`: units per item if all items are alike, else 0. `total` is a multiple of it.
  KVSHARER_HD constexpr decode_cuts(int total, int blocks, int even_units)
      : total_(total), step_(total > 0 ? (total + blocks - 1) / blocks : 1) {
    if (even_units == 0) return;
    const int items = total / even_units;
    if (items >= blocks) {
      const int whole = (items + blocks - 1) / blocks * even_units;
      if (close_enough(whole)) step_ = whole;
    } else {
      const int parts = blocks / items, part = (even_units + parts - 1) / parts;
      if (!close_enough(part)) return;
      step_ = part;
      item_units_ = even_units;
      parts_ = (even_units + part - 1) / part;
    }
  }

  /// The first unit of a block's piece. Unused pieces begin at the end of the line.
  KVSHARER_HD constexpr int begin(int piece) const {
    int at = piece * step_;
    if (item_units_ > 0) {
      const int item = piece / parts_, part = (piece - item * parts_) * step_;
      at = item * item_units_ + part;
    }
    return at < total_ ? at : total_;
  }
  /// The piece in which a unit lies.
  KVSHARER_HD constexpr int of(int unit) const {
    if (item_units_ == 0) return unit / step_;
    const int item = unit / item_units_;
    return item * parts_ + (unit - item * item_units_) / step_;
  }

 private:
  KVSHARER_HD constexpr bool close_enough(int longest) const {
    return std::int64_t{longest} * 100 <= std::int64_t{step_} * 103;
  }

  int total_;
  int step_;            // units of a piece
  int item_units_ = 0;  // where items are cut into equal parts: units of an item,
  int parts_ = 1;       // and parts of an item
};

/// The pieces that hold parts of one item.
struct item_pieces {
  int first, last;

  /// For the item whose units begin at `begin`.
  KVSHARER_HD constexpr item_pieces(const decode_cuts& cuts, int begin, int units)
      : first(cuts.of(begin)), last(cuts.of(begin + units - 1)) {}
};

/// Results of parts of items, until they are merged: two places per piece, since only the first and the last item of a
/// piece can be split. Normalised sums, and the logarithm (to base 2) of their weight.
struct decode_parts {
  float* sums;             // [2 * blocks][part_rows][head_dim]
  float* weights;          // [2 * blocks][part_rows]
  std::uint32_t* arrived;  // [blocks]: finished parts of the item that begins in a piece, 0 between launches
  int blocks;
  int stages;  // of copies in flight

  static constexpr int part_rows = 16;  // the most packed rows of an item
  static constexpr index_t floats(int blocks, int head_dim) { return index_t{2} * blocks * part_rows * (head_dim + 1); }

  /// The first part of an item goes after the part of another item with which the piece may begin.
  KVSHARER_HD static constexpr index_t place(int piece, bool first_of_item) {
    return 2 * static_cast<index_t>(piece) + (first_of_item ? 1 : 0);
  }
};

}  // namespace kvsharer::inline v0::cuda::detail
