// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/detail/probe_calls.hpp"
#include "kvsharer/search/detail/search_checks.hpp"
#include "kvsharer/search/search_report.hpp"

namespace kvsharer::inline v0 {

/// What to look for. Callables may be left empty.
struct search_options {
  int share = 0;                   ///< layers that are to read another's cache: 0 <= share < layers
  double threshold = 0.5;          ///< a candidate is kept if its score is strictly greater
  bool resume = true;              ///< let a ResumableProbe leave out the layers below the first change
  bool throw_when_missed = false;  ///< throw errc::share_count_missed instead of returning a partial map

  /// The map that the model has already, where it was trained to share: the search goes on from it, and its readers
  /// count as shared. No layers: the identity.
  share_map start = {};
  /// May `reader` read `owner`'s cache at all? Layers of another kind (window, RoPE, KV heads) must answer no.
  std::function<bool(layer_id reader, layer_id owner)> shareable = {};
  std::function<void(const search_progress&)> progress = {};  ///< told after every candidate
  std::function<bool()> cancelled = {};                       ///< asked before every candidate
};

/// The pairs a search may try, by reader and then owner ascending.
inline std::vector<layer_pair> legal_pairs(int layers, const search_options& options) {
  std::vector<layer_pair> pairs = all_pairs(layers);
  if (options.shareable) std::erase_if(pairs, [&](layer_pair p) { return !options.shareable(p.reader, p.owner); });
  return pairs;
}

namespace detail {

inline void check_search(const distance_matrix& distances, const search_options& options) {
  const int layers = distances.layers();
  check_share_count(layers, options.share);
  if (std::isnan(options.threshold)) throw error(errc::bad_argument, "the threshold is not a number");
  for (layer_pair p : all_pairs(layers))
    if (!std::isfinite(distances(p)))
      throw error(errc::not_finite, "the distance of layers " + std::to_string(p.reader.value) + " and " +
                                        std::to_string(p.owner.value) +
                                        " is not finite; look at the calibration caches");
}

/// find_share_map with what it needs of policy and probe: the policy's order of `legal` pairs, asked for only where
/// there is something to look for.
inline search_report greedy_search(const distance_matrix& distances,
                                   const std::function<std::vector<layer_pair>(std::vector<layer_pair>)>& rank_pairs,
                                   const probe_calls& probe, const search_options& options) {
  check_search(distances, options);
  search_report report;
  const bool resume = options.resume && probe.resume;
  const int layers = distances.layers();
  share_map map = starting_map(layers, options.start);
  report.plan = map;
  if (map.reader_count() >= options.share) return report;

  const std::vector<layer_pair> ranked = rank_pairs(legal_pairs(layers, options));
  report.pairs_ranked = ranked.size();
  report.status = search_status::ranking_exhausted;
  for (std::size_t rank = 0; rank < ranked.size(); ++rank) {
    if (options.cancelled && options.cancelled()) {
      report.status = search_status::cancelled;
      break;
    }
    const layer_pair pair = ranked[rank];
    share_map proposed = map.with(pair).value();
    if (!map.owns(pair.reader) || !all_shareable(proposed, options.shareable)) {
      ++report.pairs_skipped;
      continue;
    }

    candidate tried{.pair = pair, .rank = rank, .distance = distances(pair)};
    if (resume) tried.resumed_at = first_difference(map, proposed);
    tried.score = resume ? probe.resume(proposed, tried.resumed_at) : probe.score(proposed);
    report.layer_evaluations += layers - tried.resumed_at.value;
    report.layer_evaluations_without_resume += layers;

    tried.outcome = !std::isfinite(tried.score)       ? verdict::not_finite
                    : tried.score > options.threshold ? verdict::accepted
                                                      : verdict::below_threshold;
    if (tried.outcome == verdict::accepted) {
      if (resume) probe.accept();
      report.plan = map = std::move(proposed);
      report.score = tried.score;
    }
    report.candidates.push_back(tried);
    if (options.progress)
      options.progress(
          {report.candidates.back(), report.candidates.size(), ranked.size(), report.accepted(), options.share});
    if (report.accepted() == options.share) {
      report.status = search_status::complete;
      break;
    }
  }
  if (options.throw_when_missed && report.status == search_status::ranking_exhausted)
    throw_missed(report.accepted(), options.share);
  return report;
}

}  // namespace detail

/// The greedy search of KVSharer (arXiv 2410.18517, algorithm 1, in the form of its authors' code): candidates in the
/// policy's order; a pair whose reader already reads another layer is skipped unscored; chains are re-mapped to their
/// root; a step is kept if its score is above the threshold; it ends with `options.share` readers.
///
/// `probe(map)` runs the calibration samples under a map and scores the outcome. A ResumableProbe is asked to start at
/// the first layer that differs from the accepted map; map and scores are the same either way. A score that is not
/// finite rejects its candidate. Running out of pairs, or being cancelled, is reported in `status` and leaves a valid
/// map.
///
/// Throws errc::bad_share_count, errc::bad_argument, errc::not_finite (a distance), errc::bad_map (a pair from the
/// policy that is not one), errc::share_count_missed (on request), and whatever the probe and the callbacks throw.
/// Cost: one probe call per candidate; everything else is O(layers^2 log layers).
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
