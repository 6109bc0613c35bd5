// SPDX-License-Identifier: Apache-2.0
#include "probe/choices.hpp"

#include <charconv>
#include <cmath>
#include <system_error>

#include "kvsharer/core/finite.hpp"

namespace mini_llama {

int parse_share(const std::string& text, int layers) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, number);
  const bool percent = failure == std::errc{} && rest != end && std::string_view(rest) == "%";
  if (failure != std::errc{} || (rest != end && !percent) || !kvsharer::is_finite(number))
    throw usage_error("--share " + text + " is neither a number of layers (6) nor a percentage of them (25%)");
  if (!percent && number != std::floor(number))
    throw usage_error("--share " + text + " is not a whole number of layers; write a percentage with %");
  const double share = percent ? std::round(number / 100 * layers) : number;
  if (share < 0 || share > layers - 1)
    throw usage_error("--share " + text + " is outside what this model of " + std::to_string(layers) +
                      " layers can do: 0 to " + std::to_string(layers - 1) +
                      ", since layer 0 always stores its own cache");
  return static_cast<int>(share);
}

}  // namespace mini_llama
