// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/rope_text.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/model_fingerprint.hpp"

namespace kvsharer::inline v0 {

/// The model for which a plan was found. A plan is valid only for this model. Two engines that run the same weights
/// have the same identity by check_same_model, though their texts may differ.
struct model_identity {
  int layers = 0;           ///< of the model
  index_t kv_heads = 0;     ///< of a layer
  index_t head_dim = 0;     ///< channels of a head
  std::string rope;         ///< how positions are encoded: rope_text, or words of the engine's own
  std::string fingerprint;  ///< of the weights: model_fingerprint, or any text that changes with them
  friend bool operator==(const model_identity&, const model_identity&) = default;
};

/// Throws errc::plan_model, naming each difference, unless `found` was made for `running`: equal numbers, rotations
/// that turn by the same angles (same_rotation), and fingerprints of the same weights (fingerprint_difference).
/// O(head_dim).
inline void check_same_model(const model_identity& found, const model_identity& running) {
  std::string differences;
  const auto add = [&](const std::string& text) { differences += (differences.empty() ? "" : ", ") + text; };
  const auto compare = [&](const char* what, index_t theirs, index_t ours) {
    if (theirs != ours) add(what + (" " + std::to_string(theirs)) + " (this model: " + std::to_string(ours) + ")");
  };
  compare("layers", found.layers, running.layers);
  compare("kv_heads", found.kv_heads, running.kv_heads);
  compare("head_dim", found.head_dim, running.head_dim);
  if (!same_rotation(found.rope, running.rope, running.head_dim))
    add("rope \"" + found.rope + "\" (this model: \"" + running.rope + "\")");
  if (const std::string weights = fingerprint_difference(found.fingerprint, running.fingerprint); !weights.empty())
    add(weights);
  if (!differences.empty())
    throw error(errc::plan_model, "the plan was made for another model: " + differences + "; search again on this one");
}

}  // namespace kvsharer::inline v0
