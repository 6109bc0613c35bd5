// SPDX-License-Identifier: Apache-2.0
#include "sweep/calibrated.hpp"

#include <utility>

namespace mini_llama {

using kvsharer::share_map;
using kvsharer::share_plan;

calibrated::calibrated(const workplace& where, token_batch samples, std::string objective,
                       const std::string& similarity)
    : model_(where.model().identity),
      samples_(std::move(samples)),
      objective_(std::move(objective)),
      made_(where.make_probe(samples_, objective_, similarity)),
      accepted_(share_map::identity(model_.layers)) {}

const kvsharer::distance_matrix& calibrated::distances(const std::string& metric) {
  const auto known = distances_.find(metric);
  if (known != distances_.end()) return known->second;
  return distances_.emplace(metric, made_.runs->distances(metric, "post-rope")).first->second;
}

search_outcome calibrated::search(const search_request& request) {
  const kvsharer::distance_matrix& d = distances(request.metric);
  forget();
  search_outcome found = find_sharing(model_, samples_, request, *made_.runs, d);
  accepted_ = found.evidence.report.plan;
  return found;
}

std::vector<single_move> calibrated::single_moves(const std::function<void(std::size_t, std::size_t)>& progress,
                                                  const std::function<bool()>& cancelled) {
  forget();
  const auto layers = static_cast<std::size_t>(model_.layers);
  std::vector<single_move> moves;
  for (int reader = 1; reader < model_.layers; ++reader)
    for (int owner = 0; owner < reader; ++owner) {
      if (cancelled && cancelled()) return moves;
      const kvsharer::layer_pair pair{{reader}, {owner}};
      moves.push_back({pair, made_.runs->resume(accepted_.with(pair, kvsharer::kv_part::both).value(), pair.reader)});
      if (progress) progress(moves.size(), layers * (layers - 1) / 2);
    }
  return moves;
}

void calibrated::forget() {
  if (accepted_.shared_planes() == 0) return;
  const share_plan full = share_map::identity(accepted_.layers());
  made_.runs->resume(full, kvsharer::first_difference(accepted_, full));
  made_.runs->accept();
  accepted_ = full;
}

}  // namespace mini_llama
