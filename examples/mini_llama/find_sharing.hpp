// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "calibration.hpp"
#include "kvsharer/kvsharer.hpp"
#include "session.hpp"

namespace mini_llama {

/// What a search is asked for; names are those of choices.hpp.
struct search_request {
  int share = 0;
  double threshold = 0.5;
  std::string metric = "mean-row-norm";
  std::string order = "dissimilar";
  std::string similarity = "mean-of-cosines";
  std::string keys = "post-rope";
  std::uint64_t seed = 0;
  bool resume = true;
  kvsharer::share_map explicit_map = {};
  std::function<void(const kvsharer::search_progress&)> progress = {};
  std::function<bool()> cancelled = {};
};

/// A strategy and what finding it cost.
struct search_outcome {
  kvsharer::strategy strategy;
  kvsharer::index_t layer_evaluations = 0;  ///< over the whole batch, calibration included
  double calibration_seconds = 0;           ///< the full model's run and the averages
  double distance_seconds = 0;
  double seconds = 0;  ///< all of it
};

/// Calibrates, measures, ranks and searches, on the samples as one batch.
search_outcome find_sharing(const session& s, const token_batch& samples, const search_request& request);

}  // namespace mini_llama
