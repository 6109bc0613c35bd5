// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>

#include "checkpoint/alignment.hpp"
#include "network/model.hpp"
#include "text/calibration.hpp"

namespace mini_llama {

/// What an alignment is fitted on and how.
struct alignment_request {
  /// "full": the model's without sharing, all readers at once. "shared": those of the model that shares, layer by
  /// layer, each reader when those below it are aligned, so that it also makes up for what they changed.
  std::string activations = "full";
  double ridge = 0.1;  ///< kvsharer::cpu::fit_options
  bool offset = true;
  std::string keys = "one";  ///< how long gains are: "least-squares" or "one"
  std::function<bool()> cancelled = {};
};

/// How well a reader's own keys and values follow from its owner's: kvsharer::cpu::fitted_alignment.
struct explained_shares {
  double keys = 0;
  double values = 0;
};

struct alignment_outcome {
  alignment readers;
  std::map<int, explained_shares> explained;
  double seconds = 0;
};

/// Fits the alignment of every reader of `map` in one pass over the samples. On the full model's activations they run a
/// few at a time, and only second moments of keys and values are kept of them, 4 * kv_heads * head_dim^2 doubles a
/// reader. On the shared model's all run together, layer by layer, so that hidden states, keys and values of all of
/// them are held until the last layer. Throws usage_error for other activations, and what kvsharer::cpu::fit_alignment
/// throws; when `cancelled` answers yes, the readers fitted so far are returned: fewer than the map's.
alignment_outcome fit_alignment(const model& m, const token_batch& samples, const kvsharer::share_map& map,
                                const alignment_request& request);

}  // namespace mini_llama
