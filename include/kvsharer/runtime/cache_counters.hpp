// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// How a cache's pages are used now, and were used at the peak, for engines to export. Plain numbers; bytes are those
/// of keys and values in all owner layers. Under a contiguous layout a page is one sequence's room. See cache_footprint
/// for where the memory went.
struct cache_counters {
  index_t sequences = 0;      ///< alive now
  index_t tokens = 0;         ///< of all sequences; a token in a shared page counts once per sequence
  index_t pages = 0;          ///< in the pool
  index_t pages_in_use = 0;   ///< held by at least one sequence
  index_t pages_shared = 0;   ///< held by more than one sequence
  index_t pages_at_peak = 0;  ///< most in use at one time since the cache was made
  index_t slots_in_use = 0;   ///< slots of the pages in use
  index_t slots_empty = 0;    ///< of these, slots that hold no token of any sequence

  std::size_t logical = 0;   ///< what `tokens` would take if nothing were shared between sequences
  std::size_t physical = 0;  ///< bytes of the pages in use
  std::size_t peak = 0;      ///< bytes of the pages in use at the peak

  /// The part of the pages in use that holds no token: 0 when all are full, or when none is in use.
  constexpr double fragmentation() const noexcept {
    return slots_in_use > 0 ? static_cast<double>(slots_empty) / static_cast<double>(slots_in_use) : 0;
  }
  friend constexpr bool operator==(const cache_counters&, const cache_counters&) = default;
};

}  // namespace kvsharer::inline v0
