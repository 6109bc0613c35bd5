// SPDX-License-Identifier: Apache-2.0
#include "report/columns.hpp"

namespace mini_llama::report {

std::string results_table(const sweep_results& all, const std::string& caption, const std::vector<const result*>& rows,
                          const std::vector<column>& wanted, bool ids) {
  const bool settings = all.settings().size() > 1;
  std::vector<std::string> names{"rule"};
  if (settings) names.push_back("setting");
  names.push_back("layers shared");
  for (const column& c : wanted) names.push_back(c.name);
  table t(caption, names);
  const auto add = [&](const result& r, std::vector<std::string> cells, const std::string& id) {
    for (const column& c : wanted) cells.push_back(c.cell(r));
    t.add(cells, ids ? id : "");
  };
  std::vector<std::string> first{mark_of(-1) + "full model"};
  if (settings) first.emplace_back();
  first.push_back("none");
  add(all.full, first, "line-0");
  for (const result* r : rows) {
    std::vector<std::string> cells{mark_of(style_of(all, r->rule.how)) + escaped(rule_name(all, *r))};
    if (settings) cells.push_back(escaped(setting_name(all, {r->rule.metric, r->rule.samples, r->rule.threshold})));
    cells.push_back(escaped(size_name(*r)));
    add(*r, cells, "line-" + std::to_string(r - all.maps.data() + 1));
  }
  return t.markup();
}

}  // namespace mini_llama::report
