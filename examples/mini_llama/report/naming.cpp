// SPDX-License-Identifier: Apache-2.0
#include "report/naming.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "report/markup.hpp"

namespace mini_llama::report {

int style_of(const sweep_results& all, const std::string& order) {
  static constexpr std::array<std::string_view, 6> known{"dissimilar", "similar", "suffix",
                                                         "random",     "best",    "best-suffix"};
  const auto at = std::find(known.begin(), known.end(), order);
  if (at != known.end()) return static_cast<int>(at - known.begin());
  int style = static_cast<int>(known.size());
  for (const std::string& other : all.orders()) {
    if (other == order) break;
    style += std::find(known.begin(), known.end(), other) == known.end();
  }
  return style;
}

std::string order_name(const std::string& order) { return order == "dissimilar" ? "dissimilar (paper)" : order; }

std::string rule_name(const sweep_results& all, const result& r) {
  const bool seeded = std::any_of(all.maps.begin(), all.maps.end(), [&](const result& other) {
    return other.rule.order == r.rule.order && other.rule.seed > 0;
  });
  return r.rule.order + (seeded ? ", seed " + std::to_string(r.rule.seed) : "");
}

std::string size_name(const result& r) {
  return plain(r.shared()) + " of " + std::to_string(r.layers()) +
         (r.shared() < r.rule.share ? " (" + std::to_string(r.rule.share) + " wanted)" : "");
}

std::string setting_name(const sweep_results& all, const setting& s) {
  const std::vector<setting> settings = all.settings();
  const bool alone = settings.size() == 1;
  const auto varies = [&](const auto member) {
    return std::any_of(settings.begin(), settings.end(), [&](const setting& o) { return o.*member != s.*member; });
  };
  std::string name;
  const auto add = [&](const std::string& part) { name += (name.empty() ? "" : ", ") + part; };
  if (alone || varies(&setting::metric)) add(s.metric);
  if (alone || varies(&setting::samples)) add(std::to_string(s.samples) + " samples");
  if (alone || varies(&setting::threshold)) add("threshold " + plain(s.threshold));
  return name;
}

std::string setting_note(const sweep_results& all, const setting& s) {
  return all.settings().size() > 1 ? setting_name(all, s) : "";
}

double cached_tokens(const sweep_results& all) {
  return all.origin.at("prompt_tokens").get<double>() + all.origin.at("new_tokens").get<double>();
}

}  // namespace mini_llama::report
