// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/search_report.hpp"

namespace kvsharer::inline v0 {

/// What a map was found for. A map is only worth anything on the model whose calibration it came from.
struct model_identity {
  int layers = 0;           ///< of the model
  index_t kv_heads = 0;     ///< of a layer
  index_t head_dim = 0;     ///< channels of a head
  std::string rope;         ///< how positions are encoded: kind, base, scaling
  std::string fingerprint;  ///< a hash of the weights, of the engine's choosing
  friend bool operator==(const model_identity&, const model_identity&) = default;
};

/// How a map was found: enough to find it again.
struct search_settings {
  int share = 0;                   ///< layers that were to read another's cache
  double threshold = 0.5;          ///< a candidate was kept if its score was strictly greater
  std::string metric;              ///< how layers were compared, by name
  std::string order;               ///< the policy's name
  std::uint64_t seed = 0;          ///< of a random order; 0 for others
  std::string similarity;          ///< how a score was made, by name
  int samples = 0;                 ///< of the calibration
  int sample_tokens = 0;           ///< tokens of each of them
  std::string keys = "post-rope";  ///< which keys were averaged: as attention reads them, or before rotation
  int beam = 0;                    ///< of a best-first search; 0 for others
  bool exact = false;              ///< a best-first search without guesses
  bool apart = false;              ///< a best-first search of keys and values apart
  friend bool operator==(const search_settings&, const search_settings&) = default;
};

/// Where the alignment of a map's readers lies, and how it was fitted.
struct alignment_record {
  std::string file;         ///< beside the strategy's own: a name without a folder
  std::string hash;         ///< of the file's bytes, of the engine's choosing
  std::string activations;  ///< on whose it was fitted: "full", the model's without sharing, or "shared"
  double ridge = 0;         ///< of the fit, as a share of the mean variance
  bool offset = true;       ///< may values have one?
  std::string keys;         ///< how long the gains of keys are
  friend bool operator==(const alignment_record&, const alignment_record&) = default;
};

/// What a search leaves behind: the plan, whose it is, and the evidence.
struct strategy {
  model_identity model;                            ///< whose map it is
  search_settings settings;                        ///< how it was found
  search_report report;                            ///< the map, and the evidence for it
  distance_matrix distances;                       ///< that the policy ranked by
  std::optional<alignment_record> alignment = {};  ///< nothing where readers read what they read as it is
};

/// Throws errc::strategy_model, naming each difference, unless `found` was made for `running`.
inline void check_same_model(const model_identity& found, const model_identity& running) {
  std::string differences;
  const auto compare = [&](const char* what, const auto& theirs, const auto& ours) {
    if (theirs == ours) return;
    const auto text = [](const auto& x) {
      if constexpr (requires { std::to_string(x); })
        return std::to_string(x);
      else
        return "\"" + x + "\"";
    };
    differences +=
        std::string(differences.empty() ? "" : ", ") + what + " " + text(theirs) + " (this model: " + text(ours) + ")";
  };
  compare("layers", found.layers, running.layers);
  compare("kv_heads", found.kv_heads, running.kv_heads);
  compare("head_dim", found.head_dim, running.head_dim);
  compare("rope", found.rope, running.rope);
  compare("fingerprint", found.fingerprint, running.fingerprint);
  if (!differences.empty())
    throw error(errc::strategy_model,
                "the strategy was made for another model: " + differences + "; search again on this one");
}

}  // namespace kvsharer::inline v0
