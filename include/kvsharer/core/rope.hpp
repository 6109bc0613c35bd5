// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/config.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

/// Rotary position embeddings: pairs of a head's channels turn by an angle that grows with the position. Source:
/// RoFormer (arXiv 2104.09864), section 3.2.
namespace kvsharer::inline v0 {

/// Which two channels of a head turn together, as real and imaginary part of one complex number.
enum class rope_pairing : std::uint8_t {
  half_split,  ///< i with i + head_dim / 2, as HuggingFace's Llama and GPT-NeoX do
  interleaved  ///< 2 i with 2 i + 1, as Meta's Llama and GPT-J do
};

/// The channels of one complex number.
struct channel_pair {
  index_t real = 0;       ///< the channel that holds the real part
  index_t imaginary = 0;  ///< the channel that holds the imaginary part
  friend constexpr bool operator==(channel_pair, channel_pair) = default;
};

/// Those of frequency `i`, in [0, head_dim / 2).
KVSHARER_HD constexpr channel_pair channels_of(rope_pairing pairing, index_t head_dim, index_t i) noexcept {
  return pairing == rope_pairing::half_split ? channel_pair{i, i + head_dim / 2} : channel_pair{2 * i, 2 * i + 1};
}

/// What a channel is to rotation.
struct channel_role {
  index_t frequency = 0;   ///< in [0, head_dim / 2): which angle turns it
  index_t partner = 0;     ///< the other channel of its pair
  bool imaginary = false;  ///< does it hold the imaginary part?
};

/// That of `channel`, in [0, head_dim): the inverse of channels_of.
KVSHARER_HD constexpr channel_role role_of(rope_pairing pairing, index_t head_dim, index_t channel) noexcept {
  const bool split = pairing == rope_pairing::half_split;
  const index_t half = head_dim / 2, distance = split ? half : 1;
  const bool imaginary = split ? channel >= half : channel % 2 == 1;
  return {split ? channel % half : channel / 2, imaginary ? channel - distance : channel + distance, imaginary};
}

/// How a model stretches its rotary positions beyond the context it was first trained on.
enum class rope_scaling : std::uint8_t {
  none,    ///< frequencies as theta makes them
  linear,  ///< all frequencies divided by `factor`: positional interpolation (arXiv 2306.15595)
  llama3   ///< low frequencies divided by `factor`, high ones kept, blended between, as Llama 3.1 has it
};

/// The angles of a model's rotary positions. The defaults are Llama 2's.
struct rope_rule {
  double theta = 10000;                       ///< the base
  rope_scaling scaling = rope_scaling::none;  ///< the fields below count where it is not `none`
  double factor = 1;                          ///< what frequencies are divided by
  // Of llama3 alone.
  double low_freq_factor = 1;            ///< turns within the original context below which a frequency is divided
  double high_freq_factor = 4;           ///< turns above which it is kept
  index_t original_max_position = 8192;  ///< the original context, in tokens

  friend constexpr bool operator==(const rope_rule&, const rope_rule&) = default;
};

/// The angle by which each pair of channels turns from one position to the next, in radians: theta^(-2 i / head_dim),
/// scaled as the rule says. [head_dim / 2], in float64. Throws errc::bad_shape unless head_dim is even and positive,
/// errc::bad_argument for a theta or factor that is not positive, or an llama3 rule without room to blend.
/// O(head_dim).
inline std::vector<double> rope_frequencies(const rope_rule& rule, index_t head_dim) {
  if (head_dim <= 0 || head_dim % 2 != 0)
    throw error(errc::bad_shape, "rotary positions turn pairs of channels; a head of " + std::to_string(head_dim) +
                                     " channels cannot be had");
  if (!(rule.theta > 0) || !(rule.factor > 0))
    throw error(errc::bad_argument, "rotary positions need a positive theta and factor; got " +
                                        std::to_string(rule.theta) + " and " + std::to_string(rule.factor));
  if (rule.scaling == rope_scaling::llama3 &&
      (!(rule.high_freq_factor > rule.low_freq_factor) || rule.original_max_position <= 0))
    throw error(errc::bad_argument,
                "llama3's scaling needs a high_freq_factor above its low_freq_factor, and an "
                "original context; got " +
                    std::to_string(rule.high_freq_factor) + ", " + std::to_string(rule.low_freq_factor) + " and " +
                    std::to_string(rule.original_max_position) + " tokens");
  std::vector<double> frequencies(static_cast<std::size_t>(head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    double& f = frequencies[i];
    f = std::pow(rule.theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    switch (rule.scaling) {
      case rope_scaling::none:
        break;
      case rope_scaling::linear:
        f /= rule.factor;
        break;
      case rope_scaling::llama3: {
        // How often the pair turns within the context the model was first trained on decides how it is treated.
        const double turns = static_cast<double>(rule.original_max_position) * f / (2 * std::numbers::pi);
        if (turns < rule.low_freq_factor) {
          f /= rule.factor;
        } else if (turns <= rule.high_freq_factor) {
          const double keep = (turns - rule.low_freq_factor) / (rule.high_freq_factor - rule.low_freq_factor);
          f *= keep + (1 - keep) / rule.factor;
        }
        break;
      }
    }
  }
  return frequencies;
}

namespace detail {

template <rope_pairing Pairing>
void turn_heads(float* row, index_t heads, index_t head_dim, const float* cosines, float direction) noexcept {
  const index_t half = head_dim / 2;
  const float* const sines = cosines + half;
  for (index_t h = 0; h < heads; ++h, row += head_dim)
    for (index_t i = 0; i < half; ++i) {
      const channel_pair at = channels_of(Pairing, head_dim, i);
      const float a = row[at.real], b = row[at.imaginary], sine = direction * sines[i];
      row[at.real] = a * cosines[i] - b * sine;
      row[at.imaginary] = b * cosines[i] + a * sine;
    }
}

}  // namespace detail

/// Turns a row of `heads` neighbouring heads of head_dim numbers in place by one position's angles, `turn` [cosines,
/// sines][head_dim / 2]; with a direction of -1 it turns them back, which is the inverse to rounding. O(heads *
/// head_dim).
inline void rotate_heads(float* row, index_t heads, index_t head_dim, const float* turn, rope_pairing pairing,
                         float direction = 1) noexcept {
  pairing == rope_pairing::half_split
      ? detail::turn_heads<rope_pairing::half_split>(row, heads, head_dim, turn, direction)
      : detail::turn_heads<rope_pairing::interleaved>(row, heads, head_dim, turn, direction);
}

/// Cosines and sines of all positions so far, [position][cosines, sines][head_dim / 2]: what every room of the library
/// takes for angles (rotated_view, cuda::rope_angles). It knows no pairing. Made in float64 and rounded once, so that
/// late positions are as exact as early ones.
class rope_table {
 public:
  /// No positions.
  rope_table() = default;
  /// Positions [0, positions) of a rule. See reserve.
  rope_table(const rope_rule& rule, index_t head_dim, index_t positions) { reserve(rule, head_dim, positions); }

  /// Makes positions [0, positions) available, and computes and allocates only those that were not; another rule or
  /// head_dim begins anew. Throws what rope_frequencies throws, and keeps what it had. O(head_dim) for each new
  /// position.
  void reserve(const rope_rule& rule, index_t head_dim, index_t positions) {
    if (head_dim != head_dim_ || !(rule == rule_)) {
      frequencies_ = rope_frequencies(rule, head_dim);
      rule_ = rule;
      head_dim_ = head_dim;
      positions_ = 0;
    }
    if (positions <= positions_) return;
    numbers_.resize(static_cast<std::size_t>(positions * head_dim));
    for (index_t p = positions_; p < positions; ++p) {
      float* const cosines = numbers_.data() + p * head_dim;
      for (std::size_t i = 0; i < frequencies_.size(); ++i) {
        const double angle = static_cast<double>(p) * frequencies_[i];
        cosines[i] = static_cast<float>(std::cos(angle));
        cosines[frequencies_.size() + i] = static_cast<float>(std::sin(angle));
      }
    }
    positions_ = positions;
  }

  /// Positions available.
  index_t positions() const noexcept { return positions_; }
  /// Channels of a head; 0 before the first reserve.
  index_t head_dim() const noexcept { return head_dim_; }
  /// All of it, [positions()][cosines, sines][head_dim() / 2].
  std::span<const float> numbers() const noexcept {
    return {numbers_.data(), static_cast<std::size_t>(positions_ * head_dim_)};
  }
  /// Those of a position in [0, positions()), [cosines, sines][head_dim() / 2].
  const float* turn(index_t position) const noexcept { return numbers_.data() + position * head_dim_; }

  /// Turns a row of `heads` neighbouring heads by a position's angles, in place. Precondition: 0 <= position <
  /// positions().
  void rotate(float* row, index_t heads, index_t position,
              rope_pairing pairing = rope_pairing::half_split) const noexcept {
    rotate_heads(row, heads, head_dim_, turn(position), pairing);
  }
  /// Turns it back: the inverse, to rounding.
  void unrotate(float* row, index_t heads, index_t position,
                rope_pairing pairing = rope_pairing::half_split) const noexcept {
    rotate_heads(row, heads, head_dim_, turn(position), pairing, -1);
  }

 private:
  rope_rule rule_;
  index_t head_dim_ = 0, positions_ = 0;
  std::vector<double> frequencies_;
  std::vector<float> numbers_;
};

}  // namespace kvsharer::inline v0
