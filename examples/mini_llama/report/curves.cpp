// SPDX-License-Identifier: Apache-2.0
// Sections whose pictures are curves of rules.
#include <cmath>

#include "report/columns.hpp"
#include "report/markup.hpp"
#include "report/naming.hpp"
#include "report/rank_correlation.hpp"
#include "report/sections.hpp"
#include "report/series.hpp"
#include "report/table.hpp"

namespace mini_llama::report {
namespace {

/// One picture of every rule: which figures it sets against each other, and the table behind it.
struct curve_picture {
  std::string caption, better;
  chart_axis x, y;
  figure_of of_x, of_y;
  std::function<std::string(double)> shown_y;
  std::vector<column> behind;
  bool correlates = false;  ///< no function of the size: seeds are points without mean and band
};

std::string draw_curves(const sweep_results& all, const setting& where, const curve_picture& p) {
  const std::string name = setting_name(all, where);
  chart c{.title = p.caption + ": " + name, .description = {}, .x = p.x, .y = p.y, .series = {}, .levels = {}};
  c.description = "Curves of each rule; the numbers are in the table below.";
  for (const double value : extent(all, p.of_y)) c.y.include.push_back(value);
  for (const double value : extent(all, p.of_x)) c.x.include.push_back(value);
  std::size_t longest = 0;
  for (const recipe& how : all.recipes()) longest = std::max(longest, how.text().size());
  c.label_width = 22 + 7.9 * static_cast<double>(longest);
  c.series = all_rules(all, where, p.of_x, p.of_y, [&](const result& r) {
    return rule_name(all, r) + ", " + size_name(r) + ": " + p.shown_y(p.of_y(r));
  });
  std::vector<const result*> rows;
  for (const recipe& how : all.recipes())
    for (const result* r : all.select(where, how)) rows.push_back(r);
  std::string correlation;
  if (p.correlates) {
    c.names_beside = true;
    for (chart_series& s : c.series)
      if (!s.band.empty()) {
        s.line.clear();
        s.band.clear();
      }
    std::vector<double> x, y;
    for (const result* r : rows) {
      x.push_back(p.of_x(*r));
      y.push_back(p.of_y(*r));
    }
    const double rho = rank_correlation(x, y);
    correlation = "rank correlation " + data(rho, fixed(rho, 2)) + " over " + std::to_string(rows.size()) + " maps";
  }
  const std::string setting = setting_note(all, where);
  const std::string note = p.better + (p.better.empty() || setting.empty() ? "" : "; ") + setting +
                           (setting.empty() || correlation.empty() ? "" : "; ");
  const std::string words =
      element("b", {}, escaped(p.caption)) + " " + element("span", {}, escaped(note) + correlation);
  return figure(words, draw(c), numbers_behind("Numbers", results_table(all, c.title, rows, p.behind)));
}

/// Each picture in each setting, side by side where there is room.
std::string grid(const sweep_results& all, const std::vector<curve_picture>& pictures) {
  std::string out;
  for (const setting& where : all.settings())
    for (const curve_picture& p : pictures) out += draw_curves(all, where, p);
  return element("div", {{"class", "grid"}}, out);
}

double kv_bytes(const result& r) { return r.kv_bytes; }

}  // namespace

std::string quality_section(const sweep_results& all) {
  const std::vector<column> behind{columns::kv_bytes, columns::perplexity, columns::kl, columns::top1};
  const bool seeds = std::any_of(all.maps.begin(), all.maps.end(), [](const result& r) { return r.rule.seed > 0; });
  return element("p", {},
                 std::string("Every curve begins at the full model, on the left; further right, more layers share. The "
                             "other two pictures compare with the full model token by token.") +
                     (seeds ? " The grey band lies between the best and the worst random seed, its line is their mean."
                            : "")) +
         grid(all, {{"Perplexity",
                     "lower is better",
                     bytes_axis(all),
                     {.label = "perplexity, log scale", .log = true},
                     kv_bytes,
                     [](const result& r) { return r.perplexity; },
                     [](double y) { return "perplexity " + fixed_or_short(y, 2); },
                     behind},
                    {"Divergence from the full model",
                     "lower is better",
                     bytes_axis(all),
                     {.label = "KL, nats per token"},
                     kv_bytes,
                     [](const result& r) { return r.kl; },
                     [](double y) { return "KL " + fixed(y, 4) + " nats"; },
                     behind},
                    {"Same most likely token",
                     "higher is better",
                     bytes_axis(all),
                     {.label = "of all tokens, %"},
                     kv_bytes,
                     [](const result& r) { return 100 * r.top1_agreement; },
                     [](double y) { return fixed(y, 1) + " %"; },
                     behind}});
}

std::string score_section(const sweep_results& all) {
  return element("p", {},
                 "The search sees only the similarity of final hidden states on its calibration samples. If that score "
                 "tells the truth, all rules lie on one curve here.") +
         grid(all, {{"Similarity score against perplexity",
                     "",
                     {.label = "similarity of hidden states", .falling = true},
                     {.label = "perplexity, log scale", .log = true},
                     [](const result& r) { return r.by_divergence() ? NAN : r.score; },
                     [](const result& r) { return r.perplexity; },
                     [](double y) { return "perplexity " + fixed_or_short(y, 2); },
                     {columns::score, columns::perplexity},
                     true}});
}

std::string speed_section(const sweep_results& all) {
  const std::vector<column> behind{columns::kv_bytes, columns::prefill, columns::decode};
  return element("p", {},
                 "The best of up to five runs of one sequence; what else the machine did meanwhile shows as noise. A "
                 "reader reads as many bytes as an owner, so decode gains little; prefill gains where the readers are "
                 "the last layers, which then see the last position only. What that time costs in quality shows in the "
                 "third picture, from the full model on the left.") +
         grid(all, {{"Prefill speed",
                     "higher is better",
                     bytes_axis(all),
                     {.label = "tokens/s", .include = {0}},
                     kv_bytes,
                     [](const result& r) { return r.prefill_tokens_per_second; },
                     [](double y) { return rounded(y) + " tokens/s"; },
                     behind},
                    {"Decode speed",
                     "higher is better",
                     bytes_axis(all),
                     {.label = "tokens/s", .include = {0}},
                     kv_bytes,
                     [](const result& r) { return r.decode_tokens_per_second; },
                     [](double y) { return rounded(y) + " tokens/s"; },
                     behind},
                    {"Perplexity against prefill time",
                     "lower is better",
                     {.label = "prefill, µs a token", .falling = true},
                     {.label = "perplexity, log scale", .log = true},
                     [](const result& r) { return 1e6 * columns::prefill_time(r); },
                     [](const result& r) { return r.perplexity; },
                     [](double y) { return "perplexity " + fixed_or_short(y, 2); },
                     {columns::prefill_microseconds, columns::perplexity},
                     true}});
}

std::string results_section(const sweep_results& all) {
  std::vector<const result*> rows;
  for (const result& r : all.maps) rows.push_back(&r);
  return results_table(all, "All results", rows,
                       {columns::kv_bytes, columns::perplexity, columns::kl, columns::top1, columns::score,
                        columns::tried, columns::accepted, columns::layer_runs, columns::layer_runs_whole,
                        columns::search_seconds, columns::prefill, columns::decode},
                       true);
}

}  // namespace mini_llama::report
