// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// How to compute one score from several samples.
enum class similarity : std::uint8_t {
  mean_of_cosines,  ///< one cosine per sample, then their mean: the authors' code, and the default
  cosine_of_mean,   ///< the samples' mean first, then one cosine: the paper's text
};

/// Cosine of two equally long vectors, in [-1, 1] up to rounding; 0 if one of them is zero, NaN if any number is NaN.
/// Sums are in double, since squares of hidden states overflow 16 bits.
inline double cosine_similarity(std::span<const float> a, std::span<const float> b) noexcept {
  double dot = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  return is_zero(aa * bb) ? 0 : dot / std::sqrt(aa * bb);
}

/// The acceptance score of the greedy search. `full` and `shared` hold the final hidden states (after the last norm) of
/// the same samples, [samples][tokens * hidden], of the full model and of the candidate; the identity map scores 1.
/// Throws errc::bad_shape when sizes do not agree. O(size).
inline double hidden_similarity(std::span<const float> full, std::span<const float> shared, index_t samples,
                                similarity mode = similarity::mean_of_cosines) {
  const auto n = static_cast<std::size_t>(samples);
  if (samples <= 0 || full.size() != shared.size() || full.empty() || full.size() % n != 0)
    throw error(errc::bad_shape, std::to_string(full.size()) + " and " + std::to_string(shared.size()) +
                                     " hidden values cannot be compared as " + std::to_string(samples) + " samples");
  const std::size_t length = full.size() / n;
  if (mode == similarity::mean_of_cosines) {
    double sum = 0;
    for (std::size_t s = 0; s < n; ++s)
      sum += cosine_similarity(full.subspan(s * length, length), shared.subspan(s * length, length));
    return sum / static_cast<double>(n);
  }
  std::vector<float> mean_full(length), mean_shared(length);
  for (std::size_t i = 0; i < length; ++i) {
    double a = 0, b = 0;
    for (std::size_t s = 0; s < n; ++s) {
      a += static_cast<double>(full[s * length + i]);
      b += static_cast<double>(shared[s * length + i]);
    }
    mean_full[i] = static_cast<float>(a / static_cast<double>(n));
    mean_shared[i] = static_cast<float>(b / static_cast<double>(n));
  }
  return cosine_similarity(mean_full, mean_shared);
}

}  // namespace kvsharer::inline v0
