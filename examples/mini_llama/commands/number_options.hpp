// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>

#include "kvsharer/core/finite.hpp"

/// What options take, said in words of our own: CLI11 names the largest number of a type in all its digits.
namespace mini_llama {

/// " of at least 1", " of 2 to 9", or nothing for what has no bounds.
inline std::string bounds_text(const std::string& low, const std::string& high) {
  if (low.empty()) return "";
  return high.empty() ? " of at least " + low : " of " + low + " to " + high;
}

/// A whole number in [low, high].
inline CLI::Validator whole(std::int64_t low, std::int64_t high = std::numeric_limits<std::int64_t>::max()) {
  const std::string bounds = bounds_text(
      std::to_string(low), high == std::numeric_limits<std::int64_t>::max() ? std::string() : std::to_string(high));
  const auto check = [=](const std::string& text) {
    errno = 0;
    char* rest = nullptr;
    const std::int64_t number = std::strtoll(text.c_str(), &rest, 10);
    const bool reads = !text.empty() && *rest == '\0' && errno == 0;
    return reads && number >= low && number <= high ? std::string() : text + " is not a whole number" + bounds;
  };
  return {check, "whole number" + bounds, ""};
}

/// A number in [low, high], written with a decimal point.
inline CLI::Validator number(double low = std::numeric_limits<double>::lowest(),
                             double high = std::numeric_limits<double>::max()) {
  const auto digits = [](double x) { return CLI::detail::to_string(x); };
  const std::string bounds = bounds_text(low == std::numeric_limits<double>::lowest() ? std::string() : digits(low),
                                         high == std::numeric_limits<double>::max() ? std::string() : digits(high));
  const auto check = [=](const std::string& text) {
    char* rest = nullptr;
    const double x = std::strtod(text.c_str(), &rest);
    const bool reads = !text.empty() && *rest == '\0' && kvsharer::is_finite(x);
    if (reads && x >= low && x <= high) return std::string();
    const bool comma = text.find(',') != std::string::npos;
    return text + " is not a number" + bounds + (comma ? "; decimals are written with a point, as in 0.5" : "");
  };
  return {check, "number" + bounds, ""};
}

}  // namespace mini_llama
