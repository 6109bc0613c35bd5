// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>
#include <utility>
#include <vector>

#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/detail/greedy_search.hpp"
#include "kvsharer/search/detail/probe_calls.hpp"
#include "kvsharer/search/search_options.hpp"
#include "kvsharer/search/search_report.hpp"

namespace kvsharer::inline v0 {

/// The greedy search of KVSharer (arXiv 2410.18517, algorithm 1, in the form of its authors' code): candidates are
/// tried in the policy's order; a pair whose reader already reads another layer is skipped without a score; chains are
/// followed to their root; a step is kept if its score is above the threshold; the search ends with `options.share`
/// readers.
///
/// `probe(map)` runs the calibration samples under a map and scores the outcome. A ResumableProbe starts at the first
/// layer that differs from the accepted map; map and scores are the same with any probe. A candidate whose score is not
/// finite is rejected. If there are no more pairs, or the search is cancelled, `status` says so, and the map is valid.
///
/// Throws errc::bad_share_count, errc::bad_argument, errc::not_finite (a distance), errc::bad_map (an invalid pair from
/// the policy), errc::share_count_missed (on request), and whatever the probe and the callbacks throw. Cost: one probe
/// call per candidate, and O(layers^2 log layers) for everything else.
template <class Policy, class Probe>
search_report find_share_map(const distance_matrix& distances, const Policy& policy, Probe&& probe,
                             const search_options& options = {}) {
  if constexpr (require_share_policy<Policy>() && require_fidelity_probe<std::remove_reference_t<Probe>>()) {
    return detail::greedy_search(
        distances, [&](std::vector<layer_pair> legal) { return policy.rank(distances, std::move(legal)); },
        detail::calls_of<share_map>(probe), options);
  } else {
    return {};
  }
}

}  // namespace kvsharer::inline v0
