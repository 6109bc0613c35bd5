// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace mini_llama {

/// Picks the next token from a row of logits: the largest one at temperature 0 (of equal ones the lowest id), else a
/// random one of the nucleus, which is the shortest list of most likely tokens whose probabilities, at that
/// temperature, sum to top_p or more. The same seed picks the same tokens.
class sampler {
 public:
  /// Throws kvsharer::error (bad_argument) unless temperature >= 0 and 0 < top_p <= 1.
  sampler(float temperature, float top_p, std::uint64_t seed);

  /// Throws kvsharer::error (not_finite) when a logit is NaN or the largest is infinite. O(vocab log vocab).
  int operator()(std::span<const float> logits);

 private:
  struct candidate {
    int id;
    double weight;
  };

  float temperature_, top_p_;
  std::mt19937_64 random_;
  std::vector<candidate> candidates_;
};

}  // namespace mini_llama
