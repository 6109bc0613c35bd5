// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

namespace kvsharer::inline v0 {

/// How one token of a text was predicted. In nats. Without padding, so that a device writes all of what is copied.
struct prediction_score {
  double loss = 0;          ///< negative log-likelihood
  double full_loss = 0;     ///< the full model's
  double kl = 0;            ///< KL(full || shared) of the two distributions
  std::int64_t agrees = 1;  ///< 1 where both have the same most likely token, else 0
};
static_assert(sizeof(prediction_score) == 4 * 8);

/// How well a plan predicts a text, and how it differs there from the full model.
struct prediction_quality {
  double perplexity = 0;       ///< exp of the mean negative log-likelihood
  double full_perplexity = 0;  ///< the full model's on the same tokens
  double kl = 0;               ///< mean over tokens of KL(full || shared) of the next-token distributions, in nats
  double top1_agreement = 1;   ///< share of tokens at which both predict the same most likely token
  std::size_t tokens = 0;      ///< predicted, each once
};

/// Adds scores up in the order in which they come, so that sums have the same bits whoever made them first.
class prediction_sums {
 public:
  /// The next tokens' scores. O(scores).
  void add(std::span<const prediction_score> scores) noexcept {
    for (const prediction_score& s : scores) {
      loss_ += s.loss;
      full_loss_ += s.full_loss;
      kl_ += s.kl;
      agreed_ += static_cast<std::size_t>(s.agrees);
    }
    tokens_ += scores.size();
  }

  /// Scored so far.
  std::size_t tokens() const noexcept { return tokens_; }

  /// Of all tokens so far; perplexities of 1 and nothing else where there are none.
  prediction_quality result() const noexcept {
    const double n = static_cast<double>(std::max<std::size_t>(tokens_, 1));
    return {std::exp(loss_ / n), std::exp(full_loss_ / n), kl_ / n, static_cast<double>(agreed_) / n, tokens_};
  }

 private:
  double loss_ = 0, full_loss_ = 0, kl_ = 0;
  std::size_t tokens_ = 0, agreed_ = 0;
};

}  // namespace kvsharer::inline v0
