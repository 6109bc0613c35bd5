// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace mini_llama {

/// How one token of a text was predicted. In nats. Without padding, so that a device writes all of what is copied.
struct row_score {
  double loss = 0;          ///< negative log-likelihood
  double full_loss = 0;     ///< the full model's
  double kl = 0;            ///< KL(full || shared) of the two distributions
  std::int64_t agrees = 1;  ///< 1 where both have the same most likely token, else 0
};
static_assert(sizeof(row_score) == 4 * 8);

}  // namespace mini_llama
