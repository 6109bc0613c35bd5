// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "search/find_sharing.hpp"
#include "sweep/workplace.hpp"

namespace mini_llama {

/// The score of a map in which one layer alone reads another.
struct single_move {
  kvsharer::layer_pair pair;
  double score = 0;
};

/// Calibration samples that were run once, and serve any number of searches for one objective. Borrows the workplace.
/// Memory: that of its probe.
class calibrated {
 public:
  /// Objective and similarity as choices.hpp names them.
  calibrated(const workplace& where, token_batch samples, std::string objective, const std::string& similarity);

  /// Measured when a metric is first asked for.
  const kvsharer::distance_matrix& distances(const std::string& metric);

  /// The bits of find_sharing(session, samples, request), whatever was searched for before. The request's objective
  /// must be this one's. The seconds are the search's own; distances are measured before them.
  search_outcome search(const search_request& request);

  /// Scores every map that shares one layer, by reader, then owner: layers * (layers - 1) / 2 runs. Where `cancelled`
  /// answers yes, those so far.
  std::vector<single_move> single_moves(const std::function<void(std::size_t done, std::size_t all)>& progress = {},
                                        const std::function<bool()>& cancelled = {});

  std::size_t samples() const noexcept { return samples_.size(); }
  const std::string& objective() const noexcept { return objective_; }
  double seconds() const noexcept { return made_.calibration_seconds; }  ///< of the full model's run and the averages

 private:
  /// Has the probe hold the full model's run again.
  void forget();

  kvsharer::model_identity model_;
  token_batch samples_;
  std::string objective_;
  made_probe made_;
  kvsharer::share_plan accepted_;  ///< whose run the probe holds
  std::map<std::string, kvsharer::distance_matrix> distances_;
};

}  // namespace mini_llama
