// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <span>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "run/evaluation.hpp"

/// What damaged weights, or numbers that overflow, make of a model's predictions must not pass for a result.
namespace mini_llama {

[[noreturn]] inline void refuse_logits() {
  throw kvsharer::error(kvsharer::errc::not_finite,
                        "the logits are not finite; the weights or the cache are damaged, or numbers overflow in this "
                        "type");
}

/// Throws kvsharer::error (not_finite) when one of the logits is NaN or the largest is infinite. Others may be minus
/// infinity: tokens that never come. O(logits).
inline void check_logits(std::span<const float> logits) {
  bool nan = false, infinite = false;
  for (const float& x : logits) {
    nan |= kvsharer::is_nan(x);
    infinite |= !kvsharer::is_finite(x) && x > 0;
  }
  const auto finite = [](const float& x) { return kvsharer::is_finite(x); };
  if (nan || infinite || std::none_of(logits.begin(), logits.end(), finite)) refuse_logits();
}

/// Throws kvsharer::error (not_finite) when the figures come of such logits.
inline void check_figures(const evaluation& e) {
  for (const double figure : {e.perplexity, e.full_perplexity, e.kl})
    if (!kvsharer::is_finite(figure)) refuse_logits();
}

/// Throws kvsharer::error (not_finite) unless a search can compare others with this full model: `score` is what it has
/// against itself, `logits` are those of one position, which all rows of the head take part in.
inline void check_reference(double score, std::span<const float> logits) {
  if (!kvsharer::is_finite(score)) refuse_logits();
  check_logits(logits);
}

}  // namespace mini_llama
