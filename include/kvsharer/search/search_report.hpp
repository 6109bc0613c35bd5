// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "kvsharer/core/kv_part.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// What became of one candidate.
enum class verdict : std::uint8_t {
  accepted,         ///< scored above the threshold; the plan was changed
  below_threshold,  ///< scored, and not above the threshold
  outscored,        ///< above the threshold, but another one of its step was better
  not_finite,       ///< its run produced NaN or infinity
};

/// The evidence of one step: which pair stood where in the ranking, and what the probe said of it.
struct candidate {
  layer_pair pair;                                          ///< what was tried
  kv_part part = kv_part::both;                             ///< what the reader is to read
  std::size_t rank = 0;                                     ///< its place among the ranked pairs, from 0
  double distance = 0;                                      ///< of the pair
  double score = std::numeric_limits<double>::quiet_NaN();  ///< what the probe said of the map with this pair
  verdict outcome = verdict::below_threshold;               ///< what became of it
  layer_id resumed_at = {};  ///< the first layer that was run; 0 when the probe cannot resume
};

/// How a search ended. All but `complete` leave a valid plan that shares less than was asked for.
enum class search_status : std::uint8_t { complete, ranking_exhausted, cancelled };

/// What a search found, and why.
struct search_report {
  share_plan plan;                                 ///< what was found, valid however the search ended; one map, unless
                                                   ///< keys and values were searched apart
  search_status status = search_status::complete;  ///< how it ended
  double score = 1;  ///< of `plan`: the last accepted candidate's; of the identity 1, or what best first was told
  std::vector<candidate> candidates;  ///< in the order in which they were scored
  std::size_t pairs_ranked = 0;       ///< that the policy returned
  std::size_t pairs_skipped = 0;      ///< passed over because their reader already read another layer

  /// Layers the probe was asked to run, and what that would have been without resuming. The reference run is the
  /// probe's own and not counted here.
  index_t layer_evaluations = 0;
  index_t layer_evaluations_without_resume = 0;  ///< what it would have been without a probe that resumes

  /// The plan as one map. Throws errc::maps_differ where keys and values follow maps of their own.
  const share_map& map() const { return plan.one_map("this use of a search's result"); }

  /// How many layers' worth of cache is shared, half layers rounded down: where there is one map, its readers.
  int accepted() const noexcept { return plan.shared_planes() / 2; }
};

/// How far a search is, told after every candidate.
struct search_progress {
  const candidate& last;         ///< valid during the call
  std::size_t tried = 0;         ///< candidates so far, this one included
  std::size_t pairs_ranked = 0;  ///< that the policy returned
  int accepted = 0;              ///< readers so far
  int wanted = 0;                ///< readers asked for
};

}  // namespace kvsharer::inline v0
