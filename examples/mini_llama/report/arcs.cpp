// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "report/chart.hpp"
#include "report/markup.hpp"
#include "report/naming.hpp"
#include "report/sections.hpp"
#include "report/table.hpp"

namespace mini_llama::report {
namespace {

/// "18, 19 and 20".
std::string list(const std::vector<int>& layers) {
  std::string out;
  for (std::size_t i = 0; i < layers.size(); ++i)
    out += (i == 0 ? "" : i + 1 == layers.size() ? " and " : ", ") + std::to_string(layers[i]);
  return out;
}

/// Owners that others read, with their readers: "6 by 18, 19 and 20; 2 by 7".
std::string in_words(const std::vector<int>& owners) {
  const int layers = static_cast<int>(owners.size());
  std::string out;
  for (int owner = 0; owner < layers; ++owner) {
    std::vector<int> readers;
    for (int l = owner + 1; l < layers; ++l)
      if (owners[static_cast<std::size_t>(l)] == owner) readers.push_back(l);
    if (!readers.empty()) out += (out.empty() ? "" : "; ") + std::to_string(owner) + " by " + list(readers);
  }
  return out.empty() ? "none" : out;
}

std::string in_words(const result& r) {
  return r.is_one_map() ? in_words(r.owners)
                        : "keys of " + in_words(r.owners) + "; values of " + in_words(r.value_owners);
}

std::string listed(const std::vector<int>& owners) {
  std::string map;
  for (const int owner : owners) map += (map.empty() ? "" : ", ") + std::to_string(owner);
  return map;
}

/// Layers in a row, and an arc from each reader back to the owner whose cache it reads.
std::string draw_arcs(const result& r, int style, const std::string& title) {
  constexpr double width = 300, pad = 10, base = 96;
  const int n = r.layers();
  const double step = (width - 2 * pad) / std::max(1, n - 1), radius = std::clamp(step * 0.32, 1.2, 4.0);
  const auto place = [&](int l) { return pad + l * step; };
  std::string arcs, nodes;
  for (int l = 0; l < n; ++l) {
    const int owner = r.owners[static_cast<std::size_t>(l)], value_owner = r.value_owners[static_cast<std::size_t>(l)];
    const double from = place(l);
    const auto draw = [&](int read, const std::string& what) {
      const double to = place(read);
      const double height = 10 + 78 * (from - to) / (width - 2 * pad);
      // A quarter of a cubic's control height is lost at its top.
      arcs +=
          element("path",
                  {{"class", "arc"},
                   {"d", "M" + coordinate(from) + " " + coordinate(base) + "C" + coordinate(from) + " " +
                             coordinate(base - height / 0.75) + " " + coordinate(to) + " " +
                             coordinate(base - height / 0.75) + " " + coordinate(to) + " " + coordinate(base)}},
                  element("title", {}, "layer " + std::to_string(l) + " reads " + what + " " + std::to_string(read)));
    };
    const bool together = owner == value_owner;
    if (owner != l) draw(owner, together ? "layer" : "the keys of layer");
    if (value_owner != l && !together) draw(value_owner, "the values of layer");
    nodes += element("circle", {{"cx", coordinate(from)},
                                {"cy", coordinate(base)},
                                {"r", coordinate(radius)},
                                {"class", owner == l || value_owner == l ? "owner" : "reader"}});
    const int every = n <= 12 ? 1 : n <= 32 ? 4 : 8;
    if (l % every == 0)
      nodes += element("text", {{"x", coordinate(from)}, {"y", coordinate(base + 18)}, {"class", "tick middle"}},
                       std::to_string(l));
  }
  return element("svg",
                 {{"viewBox", "0 0 300 120"},
                  {"role", "img"},
                  {"aria-label", title},
                  {"class", "arcs s" + std::to_string(style % 8)}},
                 element("title", {}, escaped(title)) + arcs + nodes);
}

std::string one_map(const sweep_results& all, const result& r) {
  const std::string title = rule_name(all, r) + ", " + size_name(r) + " layers share: " + in_words(r);
  return element("div", {{"class", "map"}},
                 element("p", {},
                         element("b", {}, escaped(size_name(r))) + " perplexity " +
                             data(r.perplexity, fixed_or_short(r.perplexity, 1))) +
                     draw_arcs(r, style_of(all, r.rule.how), title));
}

/// All sizes of one rule and seed.
std::string one_rule(const sweep_results& all, const std::vector<const result*>& results) {
  const result& first = *results.front();
  std::string pictures;
  table t("Maps of " + rule_name(all, first),
          {"layers shared", "owners and their readers", "map: the layer that each layer reads"});
  for (const result* r : results) {
    pictures += one_map(all, *r);
    const std::string values = r->is_one_map() ? "" : "; values " + listed(r->value_owners);
    t.add({escaped(size_name(*r)), escaped(in_words(*r)), element("code", {}, listed(r->owners) + values)});
  }
  const std::string words =
      element("b", {}, mark_of(style_of(all, first.rule.how)) + escaped(recipe_name(first.rule.how))) +
      (rule_name(all, first) == first.rule.how.text()
           ? ""
           : " " + element("span", {}, "seed " + std::to_string(first.rule.seed)));
  return figure(words, element("div", {{"class", "maps"}}, pictures), numbers_behind("In words", t.markup()));
}

std::string one_setting(const sweep_results& all, const setting& where) {
  std::string out;
  for (const recipe& how : all.recipes()) {
    std::vector<std::vector<const result*>> seeds;
    for (const result* r : all.select(where, how)) {
      if (seeds.empty() || seeds.back().front()->rule.seed != r->rule.seed) seeds.emplace_back();
      seeds.back().push_back(r);
    }
    std::string more;
    for (std::size_t i = 0; i < seeds.size(); ++i) (i == 0 ? out : more) += one_rule(all, seeds[i]);
    if (!more.empty())
      out += element(
          "details", {},
          element("summary", {}, escaped(how.text()) + ": " + std::to_string(seeds.size() - 1) + " more seeds") + more);
  }
  return out;
}

}  // namespace

std::string map_section(const sweep_results& all) {
  std::string out = element(
      "p", {},
      "Layers stand in a row, the first one on the left. A filled dot stores its keys and values; an open one stores "
      "nothing and reads the layer at the other end of its arc.");
  const std::vector<setting> settings = all.settings();
  for (const setting& where : settings)
    if (settings.size() == 1)
      out += one_setting(all, where);
    else
      out += element("details", where == settings.front() ? attributes{{"open", "open"}} : attributes{},
                     element("summary", {}, escaped(setting_name(all, where))) + one_setting(all, where));
  return out;
}

}  // namespace mini_llama::report
