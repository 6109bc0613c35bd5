// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "kvsharer/kvsharer.hpp"
#include "network/model.hpp"
#include "probe/probe.hpp"
#include "text/calibration.hpp"

namespace mini_llama {

/// Weights that a probe is to run: a checkpoint's, or random ones of a shape, by which cost can be measured without the
/// checkpoint. Borrows both.
struct weight_source {
  const model_config& config;
  const model* stored = nullptr;  ///< null: random ones
  std::uint64_t seed = 0;         ///< of those
};

/// What a probe is to score, and on what. Borrows the samples, equally long ones.
struct probe_request {
  const token_batch& samples;
  std::string objective = "cosine";
  kvsharer::similarity similarity = kvsharer::similarity::mean_of_cosines;
  /// Of weights and activations on a GPU, and of random weights on the host. Nothing: a checkpoint's own, and bfloat16
  /// for random weights.
  std::optional<dtype> type = {};
};

/// The type that a request comes to. Of a checkpoint that mixes types, that of its first layer's query weights.
inline dtype type_of(const weight_source& source, const probe_request& wanted) {
  if (wanted.type) return *wanted.type;
  return source.stored != nullptr ? source.stored->layer(0).query.type : dtype::bf16;
}

/// A probe that has run the full model, and what making it cost.
struct made_probe {
  std::shared_ptr<const model> weights;  ///< where they are the probe's own and on the host
  std::unique_ptr<probe> runs;
  double weights_seconds = 0;      ///< for making random weights, or bringing a checkpoint's to the GPU
  double calibration_seconds = 0;  ///< for the full model's run and the averages
};

/// On the host, which takes a checkpoint's weights as they are stored. Throws usage_error for a `type` that is not
/// theirs.
made_probe host_probe(const weight_source& source, const probe_request& wanted);

}  // namespace mini_llama
