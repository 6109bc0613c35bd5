// SPDX-License-Identifier: Apache-2.0
#include "search/find_sharing.hpp"

#include <utility>

#include "checkpoint/families/own_map.hpp"
#include "probe/choices.hpp"
#include "search/order_named.hpp"
#include "support/stopwatch.hpp"

namespace mini_llama {
namespace {

kvsharer::search_report search_by_rank(const kvsharer::distance_matrix& distances, const search_request& request,
                                       probe& runs) {
  const kvsharer::search_options options{.share = request.share,
                                         .threshold = request.threshold,
                                         .resume = request.resume,
                                         .start = request.start,
                                         .shareable = request.shareable,
                                         .progress = request.progress,
                                         .cancelled = request.cancelled};
  return with_order(request.how.order(), request.seed, request.explicit_map,
                    [&](const auto& policy) { return kvsharer::find_share_map(distances, policy, runs, options); });
}

/// Distances have no say in it; they stand beside the scores for comparison.
kvsharer::search_report search_best_first(const kvsharer::distance_matrix& distances, const search_request& request,
                                          probe& runs) {
  const kvsharer::best_first_options options{.share = request.share,
                                             .threshold = request.threshold,
                                             .beam = request.beam,
                                             .lazy = !request.exact,
                                             .suffix_only = request.how.order() == search_order::best_suffix,
                                             .halves = request.how.halves(),
                                             .resume = request.resume,
                                             .start = request.start,
                                             .shareable = request.shareable,
                                             .progress = request.progress,
                                             .cancelled = request.cancelled};
  kvsharer::search_report report = request.how.is_apart()
                                       ? kvsharer::find_best_share_plan(distances.layers(), runs, options)
                                       : kvsharer::find_best_share_map(distances.layers(), runs, options);
  for (kvsharer::candidate& c : report.candidates) c.distance = distances(c.pair);
  return report;
}

}  // namespace

void suit(search_request& request, const model_config& model) {
  request.start = own_map(model);
  if (!model.windows.empty())
    request.shareable = [model](kvsharer::layer_id reader, kvsharer::layer_id owner) {
      return same_kind(model, reader, owner);
    };
}

search_outcome find_sharing(const session& s, const token_batch& samples, const search_request& wished, gpu* card) {
  search_request request = wished;
  suit(request, s.llama.config());
  const weight_source source{s.llama.config(), &s.llama};
  probe_request wanted{samples, request.how.objective(), similarity_named(request.similarity)};
  if (card) wanted.type = dtype::f32;
  const made_probe made = card ? card->make_probe(source, wanted) : host_probe(source, wanted);
  search_outcome outcome = find_sharing(s.identity, samples, request, *made.runs);
  outcome.calibration_seconds = made.calibration_seconds;
  outcome.seconds += made.calibration_seconds;
  return outcome;
}

search_outcome find_sharing(const kvsharer::model_identity& model, const token_batch& samples,
                            const search_request& request, probe& runs) {
  const stopwatch running;
  kvsharer::distance_matrix distances = runs.distances(request.metric, request.keys);
  const double distance_seconds = running.seconds();
  search_outcome outcome = find_sharing(model, samples, request, runs, std::move(distances));
  outcome.distance_seconds = distance_seconds;
  outcome.seconds = running.seconds();
  return outcome;
}

search_outcome find_sharing(const kvsharer::model_identity& model, const token_batch& samples,
                            const search_request& request, probe& runs, kvsharer::distance_matrix distances) {
  const stopwatch running;
  const kvsharer::index_t evaluated_before = runs.layer_evaluations();
  search_outcome outcome;
  kvsharer::search_evidence& found = outcome.evidence;
  found.distances = std::move(distances);

  const bool best = request.how.is_best_first();
  found.report =
      best ? search_best_first(found.distances, request, runs) : search_by_rank(found.distances, request, runs);
  outcome.model = model;
  found.settings = {.share = request.share,
                    .threshold = request.threshold,
                    .metric = request.metric,
                    .order = request.how.order_name(),
                    .seed = request.seed,
                    .similarity = request.how.has_threshold() ? request.similarity : request.how.objective(),
                    .samples = static_cast<int>(samples.size()),
                    .sample_tokens = static_cast<int>(samples.at(0).size()),
                    .keys = request.keys,
                    .beam = best ? request.beam : 0,
                    .exact = best && request.exact,
                    .apart = request.how.is_apart()};
  outcome.layer_evaluations = model.layers + runs.layer_evaluations() - evaluated_before;
  outcome.seconds = running.seconds();
  return outcome;
}

}  // namespace mini_llama
