// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kvsharer/core/finite.hpp"
#include "report/chart.hpp"
#include "report/markup.hpp"
#include "report/naming.hpp"
#include "report/sections.hpp"
#include "report/table.hpp"

namespace mini_llama::report {
namespace {

/// A rule's searches for its largest size, one for each seed: smaller ones are their beginnings.
std::vector<const result*> largest(const sweep_results& all, const setting& where, const recipe& how) {
  std::vector<const result*> found = all.select(where, how);
  int share = 0;
  for (const result* r : found) share = std::max(share, r->rule.share);
  std::erase_if(found, [share](const result* r) { return r->rule.share != share; });
  return found;
}

std::size_t last_rank(const sweep_results& all) {
  std::size_t last = 1;
  for (const result& r : all.maps)
    for (const tried& t : r.candidates) last = std::max(last, t.rank);
  return last;
}

double lowest_score(const sweep_results& all) {
  double low = 1;
  for (const result& r : all.maps) {
    if (r.by_divergence()) continue;
    low = std::min(low, r.rule.threshold);
    for (const tried& t : r.candidates)
      if (kvsharer::is_finite(t.score)) low = std::min(low, t.score);
  }
  return low;
}

/// How many were tried and accepted in each tenth of the ranking.
std::string by_rank(const std::vector<const result*>& searches, const std::string& caption) {
  std::size_t pairs = 1;
  for (const result* r : searches) {
    pairs = std::max(pairs, r->pairs_ranked);
    for (const tried& t : r->candidates) pairs = std::max(pairs, t.rank + 1);
  }
  constexpr std::size_t bands = 10;
  std::size_t tried_in[bands] = {}, accepted_in[bands] = {};
  for (const result* r : searches)
    for (const tried& t : r->candidates) {
      const std::size_t band = t.rank * bands / pairs;
      ++tried_in[band];
      accepted_in[band] += t.accepted;
    }
  table t(caption, {"ranks", "#tried", "#accepted", "#of those tried"});
  for (std::size_t b = 0; b < bands; ++b) {
    const std::size_t first = (b * pairs + bands - 1) / bands, end = ((b + 1) * pairs + bands - 1) / bands;
    if (first >= end) continue;
    const double n = static_cast<double>(tried_in[b]), yes = static_cast<double>(accepted_in[b]);
    t.add({std::to_string(first) + " to " + std::to_string(end - 1), data(n, fixed(n, 0)), data(yes, fixed(yes, 0)),
           tried_in[b] ? percent(yes / n, 0) : "\u2013"});
  }
  return t.markup();
}

std::string one_rule(const sweep_results& all, const setting& where, const recipe& how) {
  const std::vector<const result*> searches = largest(all, where, how);
  if (searches.empty() || searches[0]->by_divergence()) return {};
  std::size_t tried_count = 0, accepted = 0, skipped = 0;
  for (const result* r : searches) {
    tried_count += r->candidates.size();
    accepted += r->accepted();
    skipped += r->pairs_skipped;
  }
  chart_series s{.name = "", .style = style_of(all, how), .points = {}, .line = {}, .band = {}};
  for (const result* r : searches)
    for (const tried& t : r->candidates)
      s.points.push_back({static_cast<double>(t.rank), t.score,
                          tried_count > 500 ? ""
                                            : "rank " + std::to_string(t.rank) + ", layer " + std::to_string(t.reader) +
                                                  " from " + std::to_string(t.owner) + ": " + fixed(t.score, 4) +
                                                  (t.accepted ? ", accepted" : ", rejected"),
                          !t.accepted});
  const std::string name = how.text() + ", " + setting_name(all, where);
  const chart c{
      .title = "Candidates of " + name,
      .description = "Score of each candidate at its rank; the numbers are in the table below.",
      .x = {.label = "rank of the pair (0 is tried first)", .include = {0, static_cast<double>(last_rank(all))}},
      .y = {.label = "similarity", .include = {lowest_score(all), 1}},
      .series = {s},
      .levels = {{where.threshold, "threshold"}},
      .label_width = 70};
  const auto times = [&](std::size_t n) { return data(static_cast<double>(n), std::to_string(n)); };
  const std::string words =
      element("b", {}, mark_of(s.style) + escaped(recipe_name(how))) + " " +
      element("span", {},
              times(accepted) + " of " + times(tried_count) + " tried were accepted, " + times(skipped) +
                  " pairs passed over" +
                  (searches.size() > 1 ? ", in " + std::to_string(searches.size()) + " seeds" : ""));
  return figure(words, draw(c), numbers_behind("Numbers", by_rank(searches, c.title)));
}

}  // namespace

std::string acceptance_section(const sweep_results& all) {
  std::string out;
  const std::vector<setting> settings = all.settings();
  for (const setting& where : settings) {
    std::string figures;
    for (const recipe& how : all.recipes()) figures += one_rule(all, where, how);
    if (settings.size() > 1) out += element("h3", {}, escaped(setting_name(all, where)));
    out += element("div", {{"class", "grid"}}, figures);
  }
  return element("p", {},
                 "Did the ranking or the test do the work? Each mark is a candidate map of the search for the largest "
                 "size: where its pair stood in the ranking, and how similar the output stayed. Crosses were rejected. "
                 "Where nothing is rejected, the test did nothing and the ranking decided alone. A pair whose reader "
                 "reads another layer already is passed over untried.") +
         out;
}

}  // namespace mini_llama::report
