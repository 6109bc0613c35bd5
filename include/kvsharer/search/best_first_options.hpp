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

/// Options of find_best_share_map and find_best_share_plan. Callables may be empty.
struct best_first_options {
  int share = 0;  ///< readers wanted; sharing only keys or only values counts half: 0 <= share < layers
  /// A step is taken if its score is strictly greater; by default the best one is always taken.
  double threshold = -std::numeric_limits<double>::infinity();
  int beam = 1;              ///< number of maps that each step keeps and continues
  bool lazy = true;          ///< skip moves that were worse in earlier steps
  double slack = 0.25;       ///< by which fraction a move may have become cheaper; a larger slack scores more moves
  bool suffix_only = false;  ///< only moves after which all layers above the first reader are readers
  /// Only for find_best_share_plan: with `keys` or `values`, only moves that share these, and no whole layers.
  kv_part halves = kv_part::both;
  bool resume = true;              ///< let a ResumableProbe skip the layers below the first change
  bool throw_when_missed = false;  ///< throw errc::share_count_missed instead of returning a partial map

  /// The map that the model already has; see search_options::start.
  share_map start = {};
  /// May `reader` read `owner`'s cache? Applies to every pair of a map, including those that result from following
  /// chains.
  std::function<bool(layer_id reader, layer_id owner)> shareable = {};
  /// Called after every candidate. `pairs_ranked` is an upper bound of the number of candidates, which falls.
  std::function<void(const search_progress&)> progress = {};
  std::function<bool()> cancelled = {};  ///< called before every candidate; true ends the search
};

}  // namespace kvsharer::inline v0
