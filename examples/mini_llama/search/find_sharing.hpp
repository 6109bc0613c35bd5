// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "device/gpu.hpp"
#include "kvsharer/kvsharer.hpp"
#include "probe/probe.hpp"
#include "run/session.hpp"
#include "search/recipe.hpp"
#include "text/calibration.hpp"

namespace mini_llama {

/// What a search is asked for; names are those of choices.hpp.
struct search_request {
  int share = 0;
  double threshold = 0.5;
  recipe how = {};
  std::string metric = "mean-row-norm";
  std::string similarity = "mean-of-cosines";
  std::string keys = "post-rope";
  std::uint64_t seed = 0;
  int beam = 1;        ///< maps that a best-first search continues at each step
  bool exact = false;  ///< have a best-first search score every move, whatever it cost before
  bool resume = true;
  kvsharer::share_map explicit_map = {};
  kvsharer::share_map start = {};  ///< as kvsharer::search_options has it, like the next
  std::function<bool(kvsharer::layer_id reader, kvsharer::layer_id owner)> shareable = {};
  std::function<void(const kvsharer::search_progress&)> progress = {};
  std::function<bool()> cancelled = {};
};

/// Has a request start from the model's own map, and leave out pairs of layers with other windows.
void suit(search_request& request, const model_config& model);

/// What a search found, and what that cost.
struct search_outcome {
  kvsharer::model_identity model;
  kvsharer::search_evidence evidence;
  std::optional<kvsharer::alignment_record> alignment = {};  ///< where the readers were aligned afterwards
  kvsharer::index_t layer_evaluations = 0;                   ///< over the whole batch, calibration included
  double calibration_seconds = 0;  ///< the full model's run and the averages; 0 when they were there already
  double distance_seconds = 0;
  double seconds = 0;  ///< all of it

  /// As it is saved.
  kvsharer::plan_file file() const { return {model, evidence.report.plan, evidence, alignment}; }
};

/// Calibrates, measures, ranks and searches, on the samples as one batch; on a GPU if one is given, and then
/// in float, as on the host.
search_outcome find_sharing(const session& s, const token_batch& samples, const search_request& request,
                            gpu* card = nullptr);

/// The same search where the samples were run before: measures, ranks and searches alone, wherever the probe runs. The
/// probe must have been made of these samples with the recipe's objective, and have accepted nothing that shares;
/// afterwards it holds the run of the map that was found. Layer evaluations count one calibration.
search_outcome find_sharing(const kvsharer::model_identity& model, const token_batch& samples,
                            const search_request& request, probe& runs);

/// And where the distances were measured before, too.
search_outcome find_sharing(const kvsharer::model_identity& model, const token_batch& samples,
                            const search_request& request, probe& runs, kvsharer::distance_matrix distances);

}  // namespace mini_llama
