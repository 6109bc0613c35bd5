// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "kvsharer/kvsharer.hpp"
#include "session.hpp"

namespace mini_llama {

/// How well a map predicts a text, and how it differs there from the full model.
struct evaluation {
  double perplexity = 0;       ///< exp of the mean negative log-likelihood
  double full_perplexity = 0;  ///< the full model's on the same tokens
  double kl = 0;               ///< mean over tokens of KL(full || shared) of the next-token distributions, in nats
  double top1_agreement = 1;   ///< share of tokens at which both predict the same most likely token
  std::size_t tokens = 0;      ///< predicted, each once
};

/// Cuts `ids` (without BOS) into pieces of `window` - 1 tokens, runs each on its own behind a BOS, and scores every
/// token once. Where the model has no BOS, the token before a piece stands in for it, and the first one is not scored.
/// `on_progress(done, all)` is called after each window; when `cancelled` answers yes the figures are those so far.
/// Throws usage_error when the text is empty or the window does not fit the model. Cost: one forward pass per window
/// for the full model and, unless `map` is the identity, one for `map`.
evaluation evaluate(const session& s, const kvsharer::share_map& map, std::span<const int> ids,
                    kvsharer::index_t window, const std::function<void(std::size_t, std::size_t)>& on_progress = {},
                    const std::function<bool()>& cancelled = {});

}  // namespace mini_llama
