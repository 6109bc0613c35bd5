// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/core/rope.hpp"
#include "kvsharer/core/types.hpp"

/// A model's rotation as one line of text, compared by what it does: the angles, not the words. Where a head's pairs of
/// channels lie is a matter of storage, so the pairing has no say.
namespace kvsharer::inline v0 {
namespace detail {

/// The shortest decimal form that reads back as the same number, whatever the locale.
inline std::string number_text(double x) {
  std::array<char, 32> buffer{};
  return {buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), x).ptr};
}

/// False unless all of `text` is one finite number that fits.
inline bool read_number(std::string_view text, double& value) noexcept {
  const auto [stopped, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failure == std::errc{} && stopped == text.data() + text.size() && is_finite(value);
}
inline bool read_number(std::string_view text, index_t& value) noexcept {
  const auto [stopped, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failure == std::errc{} && stopped == text.data() + text.size();
}

/// What is before the first `separator`, which is removed from `rest` with it.
inline std::string_view cut(std::string_view& rest, char separator) noexcept {
  const std::size_t length = std::min(rest.find(separator), rest.size());
  const std::string_view part = rest.substr(0, length);
  rest.remove_prefix(std::min(length + 1, rest.size()));
  return part;
}

inline bool read_scaling(std::string_view name, rope_scaling& scaling) noexcept {
  scaling = name == "linear" ? rope_scaling::linear : name == "llama3" ? rope_scaling::llama3 : rope_scaling::none;
  return scaling != rope_scaling::none || name == "none";
}

inline bool read_field(std::string_view name, std::string_view value, rope_rule& rule) noexcept {
  if (name == "theta") return read_number(value, rule.theta);
  if (name == "scaling") return read_scaling(value, rule.scaling);
  if (name == "factor") return read_number(value, rule.factor);
  if (name == "low") return read_number(value, rule.low_freq_factor);
  if (name == "high") return read_number(value, rule.high_freq_factor);
  return name == "original" && read_number(value, rule.original_max_position);
}

inline bool read_angles(std::string_view list, std::vector<double>& angles) {
  while (!list.empty())
    if (!read_number(cut(list, ','), angles.emplace_back())) return false;
  return !angles.empty();
}

}  // namespace detail

/// The rule as words, such as "theta=500000 scaling=none", "theta=10000 scaling=linear factor=2.5" or "theta=5e+05
/// scaling=llama3 factor=32 low=1 high=4 original=8192". O(1).
inline std::string rope_text(const rope_rule& rule) {
  const std::string text = "theta=" + detail::number_text(rule.theta);
  switch (rule.scaling) {
    case rope_scaling::none:
      return text + " scaling=none";
    case rope_scaling::linear:
      return text + " scaling=linear factor=" + detail::number_text(rule.factor);
    case rope_scaling::llama3:
      break;
  }
  return text + " scaling=llama3 factor=" + detail::number_text(rule.factor) +
         " low=" + detail::number_text(rule.low_freq_factor) + " high=" + detail::number_text(rule.high_freq_factor) +
         " original=" + std::to_string(rule.original_max_position);
}

/// Any other rotation, by the angle in radians that each pair of channels turns from one position to the next, slowest
/// pair last: "angles=1,0.1,0.01". O(angles).
inline std::string rope_angles_text(std::span<const double> angles) {
  std::string text = "angles=";
  for (std::size_t i = 0; i < angles.size(); ++i) text += (i > 0 ? "," : "") + detail::number_text(angles[i]);
  return text;
}

/// The angles that a line of rope_text's words stands for, [head_dim / 2]; nothing where it says something else, or
/// something that is no rotation of such heads. The words come in any order, a missing scaling is none, and the names
/// of pairings ("half-split", "interleaved") are passed over. O(head_dim).
inline std::optional<std::vector<double>> rope_angles_of(std::string_view text, index_t head_dim) {
  rope_rule rule;
  std::vector<double> angles;
  bool has_theta = false;
  while (!text.empty()) {
    std::string_view value = detail::cut(text, ' ');
    if (value.empty() || value == "half-split" || value == "interleaved") continue;
    const std::string_view name = detail::cut(value, '=');
    has_theta = has_theta || name == "theta";
    const bool understood =
        name == "angles" ? detail::read_angles(value, angles) : detail::read_field(name, value, rule);
    if (!understood) return std::nullopt;
  }
  if (has_theta != angles.empty()) return std::nullopt;  // one of the two, and not both
  if (!has_theta)
    return static_cast<index_t>(angles.size()) * 2 == head_dim ? std::optional(std::move(angles)) : std::nullopt;
  try {
    return rope_frequencies(rule, head_dim);
  } catch (const error&) {
    return std::nullopt;
  }
}

/// Do two lines stand for the same rotation of heads of head_dim channels? Angles count as equal within a millionth,
/// which is more than programs that compute them in float32 differ by. Lines that rope_angles_of does not understand
/// ("none", a name of the engine's own) are equal when their words are. O(head_dim).
inline bool same_rotation(std::string_view a, std::string_view b, index_t head_dim) {
  if (a == b) return true;
  const auto one = rope_angles_of(a, head_dim), other = rope_angles_of(b, head_dim);
  return one && other && std::equal(one->begin(), one->end(), other->begin(), other->end(), [](double x, double y) {
           return std::fabs(x - y) <= 1e-6 * std::max(std::fabs(x), std::fabs(y));
         });
}

}  // namespace kvsharer::inline v0
