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

/// The verdict on one candidate.
enum class verdict : std::uint8_t {
  accepted,         ///< scored above the threshold; the plan was changed
  below_threshold,  ///< scored, but not above the threshold
  outscored,        ///< above the threshold, but another candidate of the step was better
  not_finite,       ///< its run produced NaN or infinity
};

/// One candidate: the pair, its rank, and its score.
struct candidate {
  layer_pair pair;                                          ///< the pair that was tried
  kv_part part = kv_part::both;                             ///< what the reader would read
  std::size_t rank = 0;                                     ///< its place among the ranked pairs, from 0
  double distance = 0;                                      ///< of the pair
  double score = std::numeric_limits<double>::quiet_NaN();  ///< the probe's score of the map with this pair
  verdict outcome = verdict::below_threshold;               ///< the verdict
  layer_id resumed_at = {};  ///< the first layer that was run; 0 when the probe cannot resume
};

/// How a search ended. In all cases the plan is valid; unless `complete`, it shares less than was asked for.
enum class search_status : std::uint8_t { complete, ranking_exhausted, cancelled };

/// The result of a search, with all candidates.
struct search_report {
  share_plan plan;                                 ///< the result, always valid; one map, unless
                                                   ///< keys and values were searched separately
  search_status status = search_status::complete;  ///< how it ended
  double score = 1;  ///< of `plan`. The identity scores 1; after best first, what the probe returned for it
  std::vector<candidate> candidates;  ///< in the order in which they were scored
  std::size_t pairs_ranked = 0;       ///< that the policy returned
  std::size_t pairs_skipped = 0;      ///< skipped because their reader already read another layer

  /// Layers that the probe ran. The reference run, which the probe makes itself, is not counted.
  index_t layer_evaluations = 0;
  index_t layer_evaluations_without_resume = 0;  ///< layers that it would have run without resuming

  /// The plan as one map. Throws errc::maps_differ if keys and values have different maps.
  const share_map& map() const { return plan.one_map("search_report::map()"); }

  /// Half the number of shared planes, rounded down. With one map, this is the number of readers.
  int accepted() const noexcept { return plan.shared_planes() / 2; }
};

/// The progress of a search, passed to a callback after every candidate.
struct search_progress {
  const candidate& last;         ///< valid during the call
  std::size_t tried = 0;         ///< candidates so far, this one included
  std::size_t pairs_ranked = 0;  ///< that the policy returned
  int accepted = 0;              ///< readers so far
  int wanted = 0;                ///< readers asked for
};

}  // namespace kvsharer::inline v0
