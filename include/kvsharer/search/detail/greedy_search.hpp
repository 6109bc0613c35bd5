// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/detail/probe_calls.hpp"
#include "kvsharer/search/detail/search_checks.hpp"
#include "kvsharer/search/search_options.hpp"
#include "kvsharer/search/search_report.hpp"

namespace kvsharer::inline v0::detail {

/// The pairs a search may try, by reader and then owner ascending.
inline std::vector<layer_pair> legal_pairs(int layers, const search_options& options) {
  std::vector<layer_pair> pairs = all_pairs(layers);
  if (options.shareable) std::erase_if(pairs, [&](layer_pair p) { return !options.shareable(p.reader, p.owner); });
  return pairs;
}

inline void check_search(const distance_matrix& distances, const search_options& options) {
  const int layers = distances.layers();
  check_share_count(layers, options.share);
  if (is_nan(options.threshold)) throw error(errc::bad_argument, "the threshold is not a number");
  for (layer_pair p : all_pairs(layers))
    if (!is_finite(distances(p)))
      throw error(errc::not_finite, "the distance of layers " + std::to_string(p.reader.value) + " and " +
                                        std::to_string(p.owner.value) +
                                        " is not finite; look at the calibration caches");
}

/// find_share_map for any policy and probe. `rank_pairs` returns the policy's order of the legal pairs, and is called
/// only if readers are wanted.
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

    tried.outcome = !is_finite(tried.score)           ? verdict::not_finite
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

}  // namespace kvsharer::inline v0::detail
