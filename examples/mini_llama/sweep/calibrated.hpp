// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "../find_sharing.hpp"
#include "../search_probe.hpp"

namespace mini_llama {

/// Calibration samples that were run once, and serve any number of searches. Borrows the session. Memory: that of
/// search_probe.
class calibrated {
 public:
  calibrated(const session& s, token_batch samples, const std::string& similarity);

  /// Measured when a metric is first asked for.
  const kvsharer::distance_matrix& distances(const std::string& metric);

  /// The bits of find_sharing(session, samples, request), whatever was searched for before. The seconds are the
  /// search's own; distances are measured before them.
  search_outcome search(const search_request& request);

  std::size_t samples() const noexcept { return samples_.size(); }
  double seconds() const noexcept { return seconds_; }  ///< of the full model's run and the averages

 private:
  using clock = std::chrono::steady_clock;

  const session& session_;
  token_batch samples_;
  clock::time_point started_;
  search_probe probe_;
  double seconds_;
  kvsharer::share_map accepted_;  ///< whose run the probe holds
  std::map<std::string, kvsharer::distance_matrix> distances_;
};

}  // namespace mini_llama
