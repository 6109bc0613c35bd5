// SPDX-License-Identifier: Apache-2.0
#include "probe/probe_request.hpp"

#include "network/random_weights.hpp"
#include "probe/choices.hpp"
#include "probe/search_probe.hpp"
#include "support/stopwatch.hpp"

namespace mini_llama {
made_probe host_probe(const weight_source& source, const probe_request& wanted) {
  made_probe made;
  if (source.stored == nullptr) {
    const stopwatch making;
    made.weights = std::make_shared<model>(random_model(source.config, source.seed, type_of(source, wanted)));
    made.weights_seconds = making.seconds();
  } else if (wanted.type && *wanted.type != source.stored->layer(0).query.type) {
    throw usage_error("the CPU runs a checkpoint in its own type; --dtype is for a GPU or for --shape");
  }
  const stopwatch calibrating;
  made.runs = std::make_unique<search_probe>(source.stored != nullptr ? *source.stored : *made.weights, wanted.samples,
                                             objective_named(wanted.objective, wanted.similarity));
  made.calibration_seconds = calibrating.seconds();
  return made;
}

}  // namespace mini_llama
