// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::budget {

/// How many of the largest weights add up to the share `tau` of all: the least number of tokens that hold most of a
/// head's attention ("minimum budget for attention", ZigZagKV, arXiv 2412.09036). A sum that is short of it by 1e-6 of
/// all reaches it, so that rounding decides nothing. `weights` are the head's attention to each token, averaged over
/// the newest queries; a factor common to all does not matter. Throws errc::bad_argument for tau outside (0, 1] and
/// errc::not_finite for weights that are negative, no numbers or all 0. O(n log n), in double.
inline index_t minimum_tokens(std::span<const float> weights, double tau = 0.9) {
  if (!is_finite(tau) || tau <= 0 || tau > 1)
    throw error(errc::bad_argument, "tokens that hold " + std::to_string(tau) + " of the attention; ask for (0, 1]");
  double total = 0;
  for (const float& w : weights) {
    if (!is_finite(w) || w < 0)
      throw error(errc::not_finite, "an attention weight is " + std::to_string(w) + "; weights are not negative");
    total += static_cast<double>(w);
  }
  if (!(total > 0)) throw error(errc::not_finite, "all attention weights of a head are 0");
  std::vector<float> sorted(weights.begin(), weights.end());
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  double sum = 0;
  index_t tokens = 0;
  do {
    sum += static_cast<double>(sorted[static_cast<std::size_t>(tokens++)]);
  } while (sum < (tau - 1e-6) * total && tokens < static_cast<index_t>(sorted.size()));
  return tokens;
}

}  // namespace kvsharer::inline v0::budget
