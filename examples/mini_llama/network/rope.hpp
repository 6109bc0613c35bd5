// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "checkpoint/config.hpp"
#include "kvsharer/core/types.hpp"

namespace mini_llama {

/// The angle per position of each of the head_dim / 2 channel pairs, after the scaling that the checkpoint names:
/// theta^(-2 i / head_dim), divided by the factor (linear), or divided for long wavelengths, kept for short ones and
/// blended between them (llama3).
std::vector<double> rope_frequencies(const rope_config& rope, kvsharer::index_t head_dim);

/// Cosines and sines of rotary position embeddings, for the half-split pairing of HuggingFace's Llama: channel i turns
/// together with channel i + head_dim / 2.
class rope_table {
 public:
  /// Makes positions [0, positions) available; allocates only when there are more of them than ever before.
  void reserve(const rope_config& rope, kvsharer::index_t head_dim, kvsharer::index_t positions);

  kvsharer::index_t positions() const noexcept { return positions_; }

  /// Of every position the cosines of its head_dim / 2 angles, then their sines.
  std::span<const float> numbers() const noexcept { return table_; }

  /// Turns `heads` neighbouring rows of head_dim numbers by a position's angles, in place. Precondition: position <
  /// positions().
  void rotate(float* row, kvsharer::index_t heads, kvsharer::index_t position) const noexcept {
    turn(row, heads, position, 1);
  }

  /// Turns them back: the inverse, to rounding.
  void unrotate(float* row, kvsharer::index_t heads, kvsharer::index_t position) const noexcept {
    turn(row, heads, position, -1);
  }

 private:
  void turn(float* row, kvsharer::index_t heads, kvsharer::index_t position, float direction) const noexcept;

  kvsharer::index_t half_ = 0, positions_ = 0;
  std::vector<float> table_;  // [position][cosine, sine][half]
};

}  // namespace mini_llama
