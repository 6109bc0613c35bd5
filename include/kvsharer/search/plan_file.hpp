// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kvsharer/core/cache_plan.hpp"
#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/search/model_identity.hpp"
#include "kvsharer/search/search_report.hpp"

namespace kvsharer::inline v0 {

/// The options with which a map was found, enough to repeat the search.
struct search_settings {
  int share = 0;                   ///< readers that were wanted
  double threshold = 0.5;          ///< a candidate was kept if its score was strictly greater
  std::string metric;              ///< name of the metric
  std::string order;               ///< name of the policy
  std::uint64_t seed = 0;          ///< of a random order; 0 for others
  std::string similarity;          ///< name of the score
  int samples = 0;                 ///< of the calibration
  int sample_tokens = 0;           ///< tokens of each of them
  std::string keys = "post-rope";  ///< which keys were averaged: as attention reads them, or before rotation
  int beam = 0;                    ///< of a best-first search; 0 for others
  bool exact = false;              ///< a best-first search without guesses
  bool apart = false;              ///< a best-first search with separate maps for keys and values
  friend bool operator==(const search_settings&, const search_settings&) = default;
};

/// The file with the alignment of a map's readers, and how it was fitted.
struct alignment_record {
  std::string file;         ///< file name without a folder, in the folder of the plan
  std::string hash;         ///< of the file's bytes, in a form that the engine chooses
  std::string activations;  ///< on which it was fitted: those of the "full" model, without sharing, or "shared"
  double ridge = 0;         ///< of the fit, as a fraction of the mean variance
  bool offset = true;       ///< may values have one?
  std::string keys;         ///< length of the gains of keys
  friend bool operator==(const alignment_record&, const alignment_record&) = default;
};

/// How a search found a plan: its options and all candidates.
struct search_evidence {
  search_settings settings;   ///< how the plan was found
  search_report report;       ///< the plan and all candidates
  distance_matrix distances;  ///< that the policy ranked by
};

/// What a plan file holds: the plan, the model that it is for, and what is known about it.
struct plan_file {
  model_identity model;                            ///< the only one that the plan is valid for
  cache_plan plan;                                 ///< what to run with
  std::optional<search_evidence> evidence = {};    ///< empty if no search found the plan; its plan is `plan.sharing()`
  std::optional<alignment_record> alignment = {};  ///< empty if readers are not aligned
};

}  // namespace kvsharer::inline v0
