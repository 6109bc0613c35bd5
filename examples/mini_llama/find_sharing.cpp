// SPDX-License-Identifier: Apache-2.0
#include "find_sharing.hpp"

#include <chrono>
#include <utility>

#include "choices.hpp"
#include "pre_rope_average.hpp"

namespace mini_llama {
namespace {

using clock = std::chrono::steady_clock;

double since(clock::time_point start) { return std::chrono::duration<double>(clock::now() - start).count(); }

kvsharer::search_report search_by_rank(const kvsharer::distance_matrix& distances, const search_request& request,
                                       search_probe& probe) {
  const kvsharer::search_options options{.share = request.share,
                                         .threshold = request.threshold,
                                         .resume = request.resume,
                                         .progress = request.progress,
                                         .cancelled = request.cancelled};
  return with_order(request.order, request.seed, request.explicit_map,
                    [&](const auto& policy) { return kvsharer::find_share_map(distances, policy, probe, options); });
}

/// Distances have no say in it; they stand beside the scores for comparison.
kvsharer::search_report search_best_first(const kvsharer::distance_matrix& distances, const search_request& request,
                                          search_probe& probe) {
  kvsharer::search_report report = kvsharer::find_best_share_map(distances.layers(), probe,
                                                                 {.share = request.share,
                                                                  .threshold = request.threshold,
                                                                  .beam = request.beam,
                                                                  .lazy = !request.exact,
                                                                  .suffix_only = request.order == "best-suffix",
                                                                  .resume = request.resume,
                                                                  .progress = request.progress,
                                                                  .cancelled = request.cancelled});
  for (kvsharer::candidate& c : report.candidates) c.distance = distances(c.pair);
  return report;
}

}  // namespace

kvsharer::distance_matrix distances_for(const session& s, const search_probe& probe, const search_request& request) {
  return with_metric(request.metric, [&](auto metric) {
    const auto distances_of = [&](const auto& averages) {
      return layer_distances(kvsharer::cpu::backend{}, averages, metric);
    };
    if (request.keys == "post-rope") return distances_of(probe.average());
    if (request.keys == "pre-rope") return distances_of(pre_rope_average(probe.average(), s.llama.config().rope));
    throw usage_error("there are no \"" + request.keys + "\" keys; choose post-rope or pre-rope");
  });
}

search_outcome find_sharing(const session& s, const token_batch& samples, const search_request& request) {
  const auto start = clock::now();
  search_probe probe(s.llama, samples, objective_named(request.objective, request.similarity));
  const double calibration_seconds = since(start);
  const auto measuring = clock::now();
  kvsharer::distance_matrix distances = distances_for(s, probe, request);
  const double distance_seconds = since(measuring);

  search_outcome outcome = find_sharing(s, samples, request, probe, std::move(distances));
  outcome.calibration_seconds = calibration_seconds;
  outcome.distance_seconds = distance_seconds;
  outcome.seconds = since(start);
  return outcome;
}

search_outcome find_sharing(const session& s, const token_batch& samples, const search_request& request,
                            search_probe& probe, kvsharer::distance_matrix distances) {
  const auto start = clock::now();
  const kvsharer::index_t evaluated_before = probe.layer_evaluations();
  search_outcome outcome;
  kvsharer::strategy& found = outcome.strategy;
  found.distances = std::move(distances);

  const bool best = is_best_first(request.order);
  found.report =
      best ? search_best_first(found.distances, request, probe) : search_by_rank(found.distances, request, probe);
  found.model = s.identity;
  found.settings = {.share = request.share,
                    .threshold = request.threshold,
                    .metric = request.metric,
                    .order = request.order,
                    .seed = request.seed,
                    .similarity = request.objective == "cosine" ? request.similarity : request.objective,
                    .samples = static_cast<int>(samples.size()),
                    .sample_tokens = static_cast<int>(samples.at(0).size()),
                    .keys = request.keys,
                    .beam = best ? request.beam : 0,
                    .exact = best && request.exact};
  outcome.layer_evaluations = s.identity.layers + probe.layer_evaluations() - evaluated_before;
  outcome.seconds = since(start);
  return outcome;
}

}  // namespace mini_llama
