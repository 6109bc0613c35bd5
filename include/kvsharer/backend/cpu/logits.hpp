// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstddef>
#include <span>

#include "kvsharer/core/types.hpp"

/// What a language model's logits of one position, [vocab], say of the next token: the probability of token i is
/// exp(logits[i]) over the sum of all. In nats, exponentials in float, sums of rows in float and all else in double; a
/// NaN in a row is one in its result. A row is not empty, and rows that are compared are equally long. O(vocab),
/// without memory.
namespace kvsharer::inline v0::cpu {
namespace detail {

inline Eigen::Map<const Eigen::ArrayXf> as_array(std::span<const float> row) noexcept {
  return {row.data(), static_cast<Eigen::Index>(row.size())};
}

}  // namespace detail

/// The logarithm of the sum of exp(logits): what a logit exceeds the logarithm of its probability by.
inline double log_normaliser(std::span<const float> logits) noexcept {
  const auto x = detail::as_array(logits);
  const float top = x.maxCoeff();
  return static_cast<double>(top) + std::log(static_cast<double>((x - top).exp().sum()));
}

/// Minus the logarithm of the probability of `target`, given the row's normaliser. Precondition: 0 <= target < vocab.
inline double cross_entropy(std::span<const float> logits, double normaliser, index_t target) noexcept {
  return normaliser - static_cast<double>(logits[static_cast<std::size_t>(target)]);
}

/// KL(p || q), given the normalisers of both rows; 0 to the last bit of equal rows.
inline double divergence(std::span<const float> p, double p_normaliser, std::span<const float> q,
                         double q_normaliser) noexcept {
  // With p normalised the normalisers stand outside the sum.
  const auto a = detail::as_array(p), b = detail::as_array(q);
  const auto weights = (a - static_cast<float>(p_normaliser)).exp();
  return static_cast<double>((weights * (a - b)).sum()) - p_normaliser + q_normaliser;
}

/// The most likely token, the first where there are several.
inline index_t most_likely(std::span<const float> logits) noexcept {
  Eigen::Index best = 0;
  detail::as_array(logits).maxCoeff(&best);
  return best;
}

}  // namespace kvsharer::inline v0::cpu
