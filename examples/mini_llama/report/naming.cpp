// SPDX-License-Identifier: Apache-2.0
#include "report/naming.hpp"

#include <algorithm>
#include <vector>

#include "report/markup.hpp"

namespace mini_llama::report {

int style_of(const sweep_results& all, const recipe& how) {
  const auto plain = [](const recipe& r) { return r == recipe(r.order()); };
  if (plain(how)) return static_cast<int>(how.order());
  int style = static_cast<int>(search_order::explicit_map);
  for (const recipe& other : all.recipes()) {
    if (other == how) break;
    style += !plain(other);
  }
  return style;
}

std::string recipe_name(const recipe& how) { return how == recipe() ? how.text() + " (paper)" : how.text(); }

std::string rule_name(const sweep_results& all, const result& r) {
  const bool seeded = std::any_of(all.maps.begin(), all.maps.end(), [&](const result& other) {
    return other.rule.how == r.rule.how && other.rule.seed > 0;
  });
  return r.rule.how.text() + (seeded ? ", seed " + std::to_string(r.rule.seed) : "");
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
