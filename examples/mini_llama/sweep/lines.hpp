// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "run/evaluation.hpp"
#include "run/session.hpp"
#include "search/find_sharing.hpp"
#include "sweep/calibrated.hpp"
#include "sweep/combinations.hpp"
#include "sweep/speed.hpp"

namespace mini_llama {

/// Seconds that went into a line. Of the calibration, those of the run that several lines share.
struct line_seconds {
  double calibration = 0, search = 0, evaluation = 0, speed = 0;
};

/// What was measured of a plan, whoever found it.
struct measured_map {
  kvsharer::cache_plan plan;
  evaluation quality;
  timed_continuation run;
  line_seconds seconds;
};

/// What every line begins with: its kind, and where it was made.
nlohmann::ordered_json begin_line(const std::string& kind, const workplace& where);

/// Every map in which one layer alone reads another, scored on the samples, beside the distances by each metric, and
/// how well each metric's ranking foretells the scores: Spearman's rho of distance and score, null where nothing can be
/// said. Positive where more different layers do less harm.
nlohmann::ordered_json moves_line(const workplace& where, calibrated& base, const std::vector<single_move>& moves,
                                  double seconds);

/// The first line of results: the full model, the prompt, and how the text itself goes on behind it.
nlohmann::ordered_json full_model_line(const workplace& where, const tokenizer& words, const measured_map& m,
                                       const std::string& prompt, const std::string& text_goes_on);

/// A combination's line: the map, how it was found with every candidate, and what it costs and buys.
nlohmann::ordered_json combination_line(const workplace& where, const tokenizer& words, const combination& c,
                                        const search_outcome& found, const measured_map& m);

}  // namespace mini_llama
