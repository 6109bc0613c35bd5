// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <cmath>

namespace mini_llama {

/// The logits of one position, [vocab].
using logit_row = Eigen::Map<const Eigen::ArrayXf>;

/// log of the sum of exp.
inline double log_normaliser(logit_row logits) {
  const float top = logits.maxCoeff();
  return static_cast<double>(top) + std::log(static_cast<double>((logits - top).exp().sum()));
}

/// KL(p || q) in nats, of two rows and their normalisers. With p normalised the normalisers stand outside the sum.
inline double divergence(logit_row p, double log_p, logit_row q, double log_q) {
  const auto weights = (p - static_cast<float>(log_p)).exp();
  return static_cast<double>((weights * (p - q)).sum()) - log_p + log_q;
}

}  // namespace mini_llama
