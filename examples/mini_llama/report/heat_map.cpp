// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "report/markup.hpp"
#include "report/sections.hpp"
#include "report/table.hpp"

namespace mini_llama::report {
namespace {

struct extremes {
  double low = INFINITY, high = -INFINITY;
  int reader = 0, owner = 0;  ///< of the highest
};

extremes extremes_of(const distances& d) {
  extremes e;
  for (std::size_t r = 1; r < d.rows.size(); ++r)
    for (std::size_t c = 0; c < r; ++c) {
      e.low = std::min(e.low, d.rows[r][c]);
      if (d.rows[r][c] > e.high) e = {e.low, d.rows[r][c], static_cast<int>(r), static_cast<int>(c)};
    }
  return e;
}

std::string label(double x, double y, const std::string& words, const std::string& kind) {
  return element("text", {{"x", coordinate(x)}, {"y", coordinate(y)}, {"class", kind}}, escaped(words));
}

/// The lower triangle, from the background's colour at the smallest distance to the full colour at the largest.
std::string draw_heat_map(const distances& d, const extremes& e, const std::string& title) {
  constexpr double left = 40, top = 8, side = 396;
  const auto n = static_cast<double>(d.rows.size());
  const double cell = side / n;
  std::string inside = element("title", {}, escaped(title)) +
                       element("desc", {}, "Rows are readers, columns owners; the numbers are in the table below.");
  for (std::size_t r = 1; r < d.rows.size(); ++r)
    for (std::size_t c = 0; c < r; ++c) {
      const double shade = e.high > e.low ? (d.rows[r][c] - e.low) / (e.high - e.low) : 0;
      const std::string words = "layer " + std::to_string(r) + " from layer " + std::to_string(c) + ": ";
      inside += element("rect",
                        {{"x", coordinate(left + static_cast<double>(c) * cell)},
                         {"y", coordinate(top + static_cast<double>(r) * cell)},
                         {"width", coordinate(cell * 0.94)},
                         {"height", coordinate(cell * 0.94)},
                         {"fill-opacity", coordinate(0.05 + 0.95 * shade)}},
                        element("title", {}, escaped(words + rounded(d.rows[r][c]))));
    }
  const std::size_t step = d.rows.size() <= 12 ? 1 : d.rows.size() <= 32 ? 4 : 8;
  for (std::size_t l = 0; l < d.rows.size(); l += step) {
    const double middle = (static_cast<double>(l) + 0.5) * cell;
    inside += label(left - 6, top + middle + 4, std::to_string(l), "tick end");
    if (l + 1 < d.rows.size()) inside += label(left + middle, top + side + 14, std::to_string(l), "tick middle");
  }
  inside += label(left + side / 2, top + side + 32, "owner layer", "label middle");
  inside += element(
      "text",
      {{"transform", "translate(11 " + coordinate(top + side / 2) + ") rotate(-90)"}, {"class", "label middle"}},
      "reader layer");
  // The key, in the empty corner.
  constexpr double key = 170, key_x = left + side - key, key_y = top + 26;
  inside += label(key_x, key_y - 8, "distance", "label");
  for (int i = 0; i < 10; ++i)
    inside += element("rect", {{"x", coordinate(key_x + i * key / 10)},
                               {"y", coordinate(key_y)},
                               {"width", coordinate(key / 10 + 0.3)},
                               {"height", "12"},
                               {"fill-opacity", coordinate(0.05 + 0.95 * i / 9)}});
  inside += label(key_x, key_y + 27, rounded(e.low), "tick");
  inside += label(key_x + key, key_y + 27, rounded(e.high), "tick end");
  return element("svg", {{"viewBox", "0 0 440 444"}, {"role", "img"}, {"aria-label", title}, {"class", "heat"}},
                 inside);
}

std::string distance_table(const distances& d, const std::string& caption) {
  std::vector<std::string> head{"reader"};
  for (std::size_t c = 0; c + 1 < d.rows.size(); ++c) head.push_back("#" + std::to_string(c));
  table t(caption, head);
  for (std::size_t r = 1; r < d.rows.size(); ++r) {
    std::vector<std::string> cells{std::to_string(r)};
    for (std::size_t c = 0; c + 1 < d.rows.size(); ++c)
      cells.push_back(c < r ? data(d.rows[r][c], rounded(d.rows[r][c])) : "");
    t.add(cells);
  }
  return t.markup();
}

}  // namespace

std::string distance_section(const sweep_results& all) {
  std::string out;
  for (const distances& d : all.matrices) {
    const extremes e = extremes_of(d);
    const std::string name = d.metric + ", " + std::to_string(d.samples) + " samples";
    const std::string title = "Distances of layers' caches by " + name;
    const std::string words = element("b", {}, escaped(name)) + " " +
                              element("span", {},
                                      "farthest apart: layers " + std::to_string(e.owner) + " and " +
                                          std::to_string(e.reader) + ", " + data(e.high, rounded(e.high)));
    out += figure(words, draw_heat_map(d, e, title), numbers_behind("Numbers", distance_table(d, title)));
  }
  return element("p", {},
                 "The stronger a square\u2019s colour, the more the two layers\u2019 keys and values differ on the "
                 "calibration "
                 "samples. The paper\u2019s rule tries the strongest first. A row or a column of one strong colour is "
                 "a layer "
                 "with large numbers, different from all others alike.") +
         element("div", {{"class", "grid"}}, out);
}

}  // namespace mini_llama::report
