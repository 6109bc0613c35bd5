// SPDX-License-Identifier: Apache-2.0
#include "find_sharing.hpp"

#include <chrono>

#include "choices.hpp"
#include "pre_rope_average.hpp"
#include "search_probe.hpp"

namespace mini_llama {

search_outcome find_sharing(const session& s, const token_batch& samples, const search_request& request) {
  using clock = std::chrono::steady_clock;
  const auto since = [](clock::time_point start) {
    return std::chrono::duration<double>(clock::now() - start).count();
  };
  const auto start = clock::now();
  search_outcome outcome;

  search_probe probe(s.llama, samples, similarity_named(request.similarity));
  outcome.calibration_seconds = since(start);

  const auto measuring = clock::now();
  kvsharer::strategy& found = outcome.strategy;
  found.distances = with_metric(request.metric, [&](auto metric) {
    const auto distances_of = [&](const auto& averages) {
      return layer_distances(kvsharer::cpu::backend{}, averages, metric);
    };
    if (request.keys == "post-rope") return distances_of(probe.average());
    if (request.keys == "pre-rope") return distances_of(pre_rope_average(probe.average(), s.llama.config().rope));
    throw usage_error("there are no \"" + request.keys + "\" keys; choose post-rope or pre-rope");
  });
  outcome.distance_seconds = since(measuring);

  const kvsharer::search_options options{.share = request.share,
                                         .threshold = request.threshold,
                                         .resume = request.resume,
                                         .progress = request.progress,
                                         .cancelled = request.cancelled};
  found.report = with_order(request.order, request.seed, request.explicit_map, [&](const auto& policy) {
    return kvsharer::find_share_map(found.distances, policy, probe, options);
  });
  found.model = s.identity;
  found.settings = {request.share,
                    request.threshold,
                    request.metric,
                    request.order,
                    request.seed,
                    request.similarity,
                    static_cast<int>(samples.size()),
                    static_cast<int>(samples.at(0).size()),
                    request.keys};
  outcome.layer_evaluations = probe.layer_evaluations();
  outcome.seconds = since(start);
  return outcome;
}

}  // namespace mini_llama
