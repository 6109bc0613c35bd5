// SPDX-License-Identifier: Apache-2.0
#include "calibrated.hpp"

#include <utility>

#include "../choices.hpp"

namespace mini_llama {

calibrated::calibrated(const session& s, token_batch samples, const std::string& similarity)
    : session_(s),
      samples_(std::move(samples)),
      started_(clock::now()),
      probe_(s.llama, samples_, similarity_named(similarity)),
      seconds_(std::chrono::duration<double>(clock::now() - started_).count()),
      accepted_(kvsharer::share_map::identity(s.identity.layers)) {}

const kvsharer::distance_matrix& calibrated::distances(const std::string& metric) {
  const auto known = distances_.find(metric);
  if (known != distances_.end()) return known->second;
  return distances_.emplace(metric, probe_.distances(metric, "post-rope")).first->second;
}

search_outcome calibrated::search(const search_request& request) {
  const kvsharer::distance_matrix& d = distances(request.metric);
  if (accepted_.reader_count() > 0) {
    const auto full = kvsharer::share_map::identity(accepted_.layers());
    probe_.resume(full, kvsharer::first_difference(accepted_, full));
    probe_.accept();
  }
  search_outcome found = find_sharing(session_.identity, samples_, request, probe_, d);
  accepted_ = found.strategy.report.map;
  return found;
}

}  // namespace mini_llama
