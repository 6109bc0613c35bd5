// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/share_map.hpp"
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
  std::string file;         ///< file name without a folder, in the folder of the strategy
  std::string hash;         ///< of the file's bytes, in a form that the engine chooses
  std::string activations;  ///< on which it was fitted: those of the "full" model, without sharing, or "shared"
  double ridge = 0;         ///< of the fit, as a fraction of the mean variance
  bool offset = true;       ///< may values have one?
  std::string keys;         ///< length of the gains of keys
  friend bool operator==(const alignment_record&, const alignment_record&) = default;
};

/// The result of a search, as it is saved: the plan, the model, the options and all candidates.
struct strategy {
  model_identity model;                            ///< for which the map was found
  search_settings settings;                        ///< how it was found
  search_report report;                            ///< the map and all candidates
  distance_matrix distances;                       ///< that the policy ranked by
  std::optional<alignment_record> alignment = {};  ///< empty if readers are not aligned
};

}  // namespace kvsharer::inline v0
