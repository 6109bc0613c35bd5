// SPDX-License-Identifier: Apache-2.0
// Does a metric's ranking foretell what a single move costs?
#include <string>
#include <vector>

#include "report/chart.hpp"
#include "report/markup.hpp"
#include "report/naming.hpp"
#include "report/rank_correlation.hpp"
#include "report/sections.hpp"
#include "report/table.hpp"

namespace mini_llama::report {
namespace {

std::string score_name(const scored_moves& m) {
  return m.objective == "kl" ? "minus KL, nats" : "similarity of hidden states";
}

/// What the moves were scored on and by.
std::string moves_name(const scored_moves& m) {
  return std::to_string(m.samples) + " samples, " + (m.objective == "kl" ? "divergence" : "similarity");
}

std::string correlation(double rho) { return data(rho, fixed(rho, 2)); }

std::string correlation_table(const std::vector<scored_moves>& all) {
  std::vector<std::string> head{"scored on and by"};
  for (const auto& [metric, distances] : all[0].distances) head.push_back("#" + metric);
  table t("Rank correlation of distance and score", head);
  for (const scored_moves& m : all) {
    std::vector<std::string> cells{escaped(moves_name(m))};
    for (const auto& [metric, distances] : m.distances)
      cells.push_back(correlation(rank_correlation(distances, m.scores)));
    t.add(cells);
  }
  return t.markup();
}

std::string scatter(const scored_moves& m, const std::string& metric, const std::vector<double>& distances) {
  chart_series s{.name = "", .style = 0, .points = {}, .line = {}, .band = {}};
  table t("Single moves by " + metric + ", " + moves_name(m), {"reader", "#owner", "#distance", "#score"});
  for (std::size_t i = 0; i < m.scores.size(); ++i) {
    s.points.push_back({distances[i], m.scores[i],
                        "layer " + std::to_string(m.readers[i]) + " reads " + std::to_string(m.owners[i]) + ": " +
                            fixed(m.scores[i], 4)});
    t.add({std::to_string(m.readers[i]), std::to_string(m.owners[i]), data(distances[i], rounded(distances[i])),
           data(m.scores[i], fixed(m.scores[i], 4))});
  }
  const chart c{.title = "Distance by " + metric + " against the score of the single move, " + moves_name(m),
                .description = "A mark for each pair of layers; the numbers are in the table below.",
                .x = {.label = "distance, " + metric},
                .y = {.label = score_name(m)},
                .series = {s},
                .levels = {},
                .label_width = 20};
  const double rho = rank_correlation(distances, m.scores);
  const std::string words = element("b", {}, escaped(metric)) + " " +
                            element("span", {}, escaped(moves_name(m)) + ": rank correlation " + correlation(rho));
  return figure(words, draw(c), numbers_behind("Numbers", t.markup()));
}

}  // namespace

std::string moves_section(const sweep_results& all) {
  if (all.moves.empty()) return element("p", {}, "This sweep did not score single moves (yet).");
  std::string pictures;
  for (const scored_moves& m : all.moves)
    for (const auto& [metric, distances] : m.distances) pictures += scatter(m, metric, distances);
  return element("p", {},
                 "Every map in which one layer alone reads another was scored. If a metric\u2019s ranking is worth "
                 "following, its distances order these scores: a rank correlation of 1 means that the most different "
                 "pair does the least harm, as the paper\u2019s rule supposes, \u22121 that the most similar pair "
                 "does, and "
                 "0 that the ranking knows nothing.") +
         correlation_table(all.moves) + element("div", {{"class", "grid"}}, pictures);
}

}  // namespace mini_llama::report
