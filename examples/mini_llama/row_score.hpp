// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mini_llama {

/// How one token of a text was predicted. In nats.
struct row_score {
  double loss = 0;       ///< negative log-likelihood
  double full_loss = 0;  ///< the full model's
  double kl = 0;         ///< KL(full || shared) of the two distributions
  bool agrees = true;    ///< have both the same most likely token?
};

}  // namespace mini_llama
