// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "kvsharer/core/types.hpp"
#include "network/lanes.hpp"

/// Row-wise functions of a decoder layer. Their results do not depend on where the numbers lie in memory, so that runs
/// repeat bit for bit; Eigen's arrays of run-time size would begin vectors wherever the first aligned address is.
namespace mini_llama {

/// y [n] = x / sqrt(mean of x^2 + eps) * gain; y may be x.
inline void rms_norm(const float* x, const float* gain, kvsharer::index_t n, float eps, float* y) {
  float_lanes squares = {};
  kvsharer::index_t i = 0;
  for (; i + lanes <= n; i += lanes) squares += load_lanes(x + i) * load_lanes(x + i);
  float sum = sum_lanes(squares);
  for (; i < n; ++i) sum += x[i] * x[i];
  const float scale = 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
  for (i = 0; i < n; ++i) y[i] = x[i] * scale * gain[i];
}

/// y [n] += x.
inline void add_to(const float* x, kvsharer::index_t n, float* y) {
  for (kvsharer::index_t i = 0; i < n; ++i) y[i] += x[i];
}

/// gate [n] = gate / (1 + exp(-gate)) * up.
inline void swiglu(float* gate, const float* up, kvsharer::index_t n) {
  constexpr kvsharer::index_t step = 64;
  using block = Eigen::Array<float, step, 1>;
  const auto of_block = [](auto g, const auto& u) { g = g / (1.0f + (-g).exp()) * u; };
  kvsharer::index_t i = 0;
  for (; i + step <= n; i += step) of_block(Eigen::Map<block>(gate + i), Eigen::Map<const block>(up + i));
  if (i == n) return;
  block last_gate = block::Zero(), last_up = block::Zero();
  std::copy(gate + i, gate + n, last_gate.data());
  std::copy(up + i, up + n, last_up.data());
  of_block(Eigen::Map<block>(last_gate.data()), last_up);
  std::copy_n(last_gate.data(), n - i, gate + i);
}

}  // namespace mini_llama
