// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <cmath>

#include "kvsharer/core/types.hpp"

namespace mini_llama {

/// y = x / sqrt(mean(x^2) + eps) * gain, for one row of n numbers. x and y may be the same.
inline void rms_norm(const float* x, const float* gain, kvsharer::index_t n, float eps, float* y) {
  using array = Eigen::Map<const Eigen::ArrayXf>;
  const array in(x, n);
  const float scale = 1.0f / std::sqrt(in.square().mean() + eps);
  Eigen::Map<Eigen::ArrayXf>(y, n) = in * scale * array(gain, n);
}

/// gate = silu(gate) * up over n numbers, with silu(g) = g / (1 + exp(-g)).
inline void swiglu(float* gate, const float* up, kvsharer::index_t n) {
  Eigen::Map<Eigen::ArrayXf> g(gate, n);
  g = g / (1.0f + (-g).exp()) * Eigen::Map<const Eigen::ArrayXf>(up, n);
}

}  // namespace mini_llama
