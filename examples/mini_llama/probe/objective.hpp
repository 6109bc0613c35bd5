// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>

#include "kvsharer/kvsharer.hpp"
#include "network/model.hpp"

namespace mini_llama {

/// Scores final hidden states (after the last norm) of the calibration samples, [samples][tokens * hidden]; more is
/// better.
using hidden_score = std::function<double(std::span<const float> hidden)>;

/// What a search is to keep: given once what the full model makes of the samples, it scores what shared ones do. The
/// model must outlive the score.
using objective = std::function<hidden_score(const model& m, std::span<const float> full, kvsharer::index_t samples)>;

/// The similarity of the hidden states themselves, as in the paper: 1 for the full model.
objective cosine_objective(kvsharer::similarity mode);

/// Minus the mean over all positions of all samples of KL(full || shared) of the next-token distributions, in nats: 0
/// for the full model. Keeps the full model's logits: samples * tokens * vocab floats.
objective kl_objective();

}  // namespace mini_llama
