// SPDX-License-Identifier: Apache-2.0
#include "report/series.hpp"

#include <algorithm>
#include <map>

#include "kvsharer/core/finite.hpp"
#include "report/markup.hpp"
#include "report/naming.hpp"

namespace mini_llama::report {

chart_series rule_series(const sweep_results& all, const setting& where, const recipe& how, const figure_of& x,
                         const figure_of& y, const std::function<std::string(const result&)>& title) {
  chart_series s{.name = how.text(), .style = style_of(all, how), .points = {}, .line = {}, .band = {}};
  std::map<int, std::vector<chart_point>> by_size;
  for (const result* r : all.select(where, how)) {
    const chart_point p{x(*r), y(*r), title(*r)};
    s.points.push_back(p);
    if (kvsharer::is_finite(p.x) && kvsharer::is_finite(p.y)) by_size[r->rule.share].push_back(p);
  }
  s.line.push_back({x(all.full), y(all.full), ""});
  bool spread = false;
  for (const auto& [share, points] : by_size) {
    double sum_x = 0, sum_y = 0, low = points[0].y, high = points[0].y;
    for (const chart_point& p : points) {
      sum_x += p.x;
      sum_y += p.y;
      low = std::min(low, p.y);
      high = std::max(high, p.y);
    }
    const double n = static_cast<double>(points.size());
    s.line.push_back({sum_x / n, sum_y / n, ""});
    s.band.push_back({sum_x / n, low, high});
    spread = spread || points.size() > 1;
  }
  if (!spread)
    s.band.clear();
  else
    s.band.insert(s.band.begin(), {x(all.full), y(all.full), y(all.full)});
  return s;
}

std::vector<chart_series> all_rules(const sweep_results& all, const setting& where, const figure_of& x,
                                    const figure_of& y, const std::function<std::string(const result&)>& title) {
  std::vector<chart_series> series;
  for (const recipe& how : all.recipes()) {
    chart_series s = rule_series(all, where, how, x, y, title);
    if (!s.points.empty()) series.push_back(std::move(s));
  }
  series.push_back(
      {.name = "", .style = -1, .points = {{x(all.full), y(all.full), "full model"}}, .line = {}, .band = {}});
  return series;
}

chart_axis bytes_axis(const sweep_results& all) {
  const double full = all.full.kv_bytes;
  const byte_unit unit = unit_of(full);
  chart_axis axis{.label = "KV cache of " + count(cached_tokens(all)) + " tokens, " + unit.name + "; saved of it",
                  .falling = true,
                  .ticks = {{full, rounded(full / unit.size) + "\nfull"}},
                  .include = {full}};
  for (const result& r : all.maps) axis.include.push_back(r.kv_bytes);
  // The sizes that were asked for, where a search that reached fewer layers would have its own.
  const std::vector<int> shares = all.shares();
  const auto saved = [&](int share) { return static_cast<double>(share) / all.full.layers(); };
  double last = 0;
  for (const int share : shares) {
    // Names of neighbours would run into each other.
    if (saved(share) - last < 0.19 * saved(shares.back())) continue;
    last = saved(share);
    axis.ticks.emplace_back(full * (1 - last),
                            rounded(full * (1 - last) / unit.size) + "\n\u2212" + plain(100 * last) + " %");
    axis.include.push_back(full * (1 - last));
  }
  return axis;
}

std::vector<double> extent(const sweep_results& all, const figure_of& y) {
  std::vector<double> values{y(all.full)};
  for (const result& r : all.maps) values.push_back(y(r));
  std::erase_if(values, [](double value) { return !kvsharer::is_finite(value); });
  if (values.empty()) return {};
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return {*low, *high};
}

}  // namespace mini_llama::report
