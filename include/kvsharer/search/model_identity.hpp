// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// The model for which a map was found. A map is valid only for this model.
struct model_identity {
  int layers = 0;           ///< of the model
  index_t kv_heads = 0;     ///< of a layer
  index_t head_dim = 0;     ///< channels of a head
  std::string rope;         ///< how positions are encoded: kind, base, scaling
  std::string fingerprint;  ///< a hash of the weights, in a form that the engine chooses
  friend bool operator==(const model_identity&, const model_identity&) = default;
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
