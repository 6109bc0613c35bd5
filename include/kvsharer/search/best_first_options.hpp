// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <limits>

#include "kvsharer/core/kv_part.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/search_report.hpp"

namespace kvsharer::inline v0 {

/// What find_best_share_map and find_best_share_plan are to look for. Callables may be left empty.
struct best_first_options {
  int share = 0;  ///< layers that are to read another's cache, or half layers twice as many: 0 <= share < layers
  /// A step is taken if its score is strictly greater; by default the best one always is.
  double threshold = -std::numeric_limits<double>::infinity();
  int beam = 1;              ///< maps that are kept and continued at each step
  bool lazy = true;          ///< leave out moves that were worse in earlier steps
  double slack = 0.25;       ///< how much cheaper, as a share, a move may have become; more scores more
  bool suffix_only = false;  ///< only moves after which every layer above the first reader reads
  /// Of find_best_share_plan alone: with `keys` or `values`, only moves that share these, and none of whole layers.
  kv_part halves = kv_part::both;
  bool resume = true;              ///< let a ResumableProbe leave out the layers below the first change
  bool throw_when_missed = false;  ///< throw errc::share_count_missed instead of returning a partial map

  /// The map that the model has already, as search_options::start has it.
  share_map start = {};
  /// May `reader` read `owner`'s cache at all? Holds for every pair of a map, those that arise by following included.
  std::function<bool(layer_id reader, layer_id owner)> shareable = {};
  /// Told after every candidate; `pairs_ranked` is how many candidates there may be in all, a bound that falls.
  std::function<void(const search_progress&)> progress = {};
  std::function<bool()> cancelled = {};  ///< asked before every candidate
};

}  // namespace kvsharer::inline v0
