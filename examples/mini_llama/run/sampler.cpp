// SPDX-License-Identifier: Apache-2.0
#include "run/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/finite.hpp"
#include "run/finite_logits.hpp"

namespace mini_llama {

using kvsharer::errc;
using kvsharer::error;

sampler::sampler(float temperature, float top_p, std::uint64_t seed)
    : temperature_(temperature), top_p_(top_p), random_(seed) {
  if (!(temperature >= 0) || !kvsharer::is_finite(temperature))
    throw error(errc::bad_argument, "a temperature of " + std::to_string(temperature) +
                                        " is invalid; use 0 for greedy, or a positive number");
  if (!(top_p > 0) || !(top_p <= 1))
    throw error(errc::bad_argument,
                "top-p of " + std::to_string(top_p) + " is not a probability; use a number in (0, 1]");
}

int sampler::operator()(std::span<const float> logits) {
  if (logits.empty()) throw error(errc::bad_argument, "there are no logits to pick from");
  check_logits(logits);
  const auto best = static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  if (temperature_ == 0) return static_cast<int>(best);

  candidates_.resize(logits.size());
  double total = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double weight = std::exp((static_cast<double>(logits[i]) - static_cast<double>(logits[best])) /
                                   static_cast<double>(temperature_));
    candidates_[i] = {static_cast<int>(i), weight};
    total += weight;
  }
  if (top_p_ < 1) {
    std::sort(candidates_.begin(), candidates_.end(), [](const candidate& a, const candidate& b) {
      return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
    });
    const double wanted = static_cast<double>(top_p_) * total;
    double sum = 0;
    std::size_t kept = 0;
    while (kept < candidates_.size() && sum < wanted) sum += candidates_[kept++].weight;
    candidates_.resize(kept);
    total = sum;
  }
  // Not std::uniform_real_distribution, whose results differ between standard libraries.
  double point = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
  for (const candidate& c : candidates_)
    if ((point -= c.weight) < 0) return c.id;
  // Rounding may leave a remainder; then the last candidate with any weight was meant.
  const auto last =
      std::find_if(candidates_.rbegin(), candidates_.rend(), [](const candidate& c) { return c.weight > 0; });
  return last->id;
}

}  // namespace mini_llama
