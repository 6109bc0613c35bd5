// SPDX-License-Identifier: Apache-2.0
#include "network/rope.hpp"

#include <Eigen/Core>
#include <cmath>
#include <cstddef>
#include <numbers>

namespace mini_llama {

using kvsharer::index_t;

std::vector<double> rope_frequencies(const rope_config& rope, index_t head_dim) {
  std::vector<double> frequencies(static_cast<std::size_t>(head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    double& f = frequencies[i];
    f = std::pow(rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    switch (rope.kind) {
      case rope_kind::none:
        break;
      case rope_kind::linear:
        f /= rope.factor;
        break;
      case rope_kind::llama3: {
        // How often the pair turns within the context the model was first trained on decides how it is treated.
        const double turns = static_cast<double>(rope.original_max_position) * f / (2 * std::numbers::pi);
        if (turns < rope.low_freq_factor) {
          f /= rope.factor;
        } else if (turns <= rope.high_freq_factor) {
          const double keep = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
          f *= keep + (1 - keep) / rope.factor;
        }
        break;
      }
    }
  }
  return frequencies;
}

void rope_table::reserve(const rope_config& rope, index_t head_dim, index_t positions) {
  if (positions <= positions_) return;
  half_ = head_dim / 2;
  table_.resize(static_cast<std::size_t>(positions * head_dim));
  const std::vector<double> frequencies = rope_frequencies(rope, head_dim);
  for (index_t p = positions_; p < positions; ++p) {
    float* cosines = table_.data() + p * head_dim;
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      // In double, so that late positions are as exact as early ones.
      const double angle = static_cast<double>(p) * frequencies[i];
      cosines[i] = static_cast<float>(std::cos(angle));
      cosines[frequencies.size() + i] = static_cast<float>(std::sin(angle));
    }
  }
  positions_ = positions;
}

void rope_table::turn(float* row, index_t heads, index_t position, float direction) const noexcept {
  const float* cosines = table_.data() + position * 2 * half_;
  const float* sines = cosines + half_;
  for (index_t h = 0; h < heads; ++h) {
    float* low = row + h * 2 * half_;
    float* high = low + half_;
    for (index_t i = 0; i < half_; ++i) {
      const float a = low[i], b = high[i];
      const float sine = direction * sines[i];
      low[i] = a * cosines[i] - b * sine;
      high[i] = b * cosines[i] + a * sine;
    }
  }
}

}  // namespace mini_llama
