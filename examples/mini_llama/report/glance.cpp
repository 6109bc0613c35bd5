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

std::string perplexity(const result& r) { return data(r.perplexity, fixed_or_short(r.perplexity, 2)); }

/// Maps of this size that reached it, best first.
std::vector<const result*> reached(const sweep_results& all, int share) {
  std::vector<const result*> found;
  for (const result& r : all.maps)
    if (r.rule.share == share && r.shared() == share && kvsharer::is_finite(r.perplexity)) found.push_back(&r);
  std::stable_sort(found.begin(), found.end(),
                   [](const result* a, const result* b) { return a->perplexity < b->perplexity; });
  return found;
}

/// Of one recipe in the first setting that has it.
const result* first_of(const std::vector<const result*>& some, const sweep_results& all, const recipe& how) {
  for (const setting& s : all.settings())
    for (const result* r : some)
      if (r->rule.how == how && setting{r->rule.metric, r->rule.samples, r->rule.threshold} == s) return r;
  return nullptr;
}

/// Mean and extremes over the random maps.
std::string random_cell(const std::vector<const result*>& some) {
  double sum = 0, low = INFINITY, high = -INFINITY, n = 0;
  for (const result* r : some) {
    if (!r->rule.how.has_seeds()) continue;
    sum += r->perplexity;
    low = std::min(low, r->perplexity);
    high = std::max(high, r->perplexity);
    ++n;
  }
  if (n == 0) return "\u2013";
  const double mean = sum / n;
  return data(mean, fixed_or_short(mean, 2)) +
         (n > 1 ? " (" + data(low, fixed_or_short(low, 1)) + " to " + data(high, fixed_or_short(high, 1)) + ")" : "");
}

std::string card(const std::string& number, const std::string& words) {
  return element("div", {{"class", "card"}}, element("b", {}, number) + element("span", {}, words));
}

}  // namespace

std::string glance_section(const sweep_results& all) {
  const auto tokens = all.origin.at("tokens").get<double>();
  std::string cards =
      card(perplexity(all.full), "perplexity of the full model over " + data(tokens, count(tokens)) + " tokens of " +
                                     escaped(all.origin.at("text").at("name").get<std::string>()));
  cards += card(data(all.full.kv_bytes, bytes(all.full.kv_bytes)),
                "keys and values of " + count(cached_tokens(all)) + " tokens in float32, unshared");
  cards += card(data(all.full.decode_tokens_per_second, rounded(all.full.decode_tokens_per_second)),
                "tokens/s decoded by the full model");
  cards += card(std::to_string(all.maps.size()), "maps found and measured");

  table t("Best map of each size", {"layers shared", "#KV bytes", "best rule", "#its perplexity", "#its same top token",
                                    "#paper\u2019s rule", "#random, mean and range"});
  for (const int share : all.shares()) {
    const std::vector<const result*> some = reached(all, share);
    if (some.empty()) {
      t.add({std::to_string(share) + " of " + std::to_string(all.full.layers()), "\u2013", "not reached", "\u2013",
             "\u2013", "\u2013", "\u2013"});
      continue;
    }
    const result& best = *some.front();
    const result* paper = first_of(some, all, recipe());
    const std::string where = all.settings().size() > 1
                                  ? ", " + setting_name(all, {best.rule.metric, best.rule.samples, best.rule.threshold})
                                  : "";
    t.add({size_name(best), data(best.kv_bytes, bytes(best.kv_bytes)),
           mark_of(style_of(all, best.rule.how)) + escaped(rule_name(all, best) + where), perplexity(best),
           data(best.top1_agreement, percent(best.top1_agreement)), paper ? perplexity(*paper) : "\u2013",
           random_cell(some)});
  }
  std::string out = element("div", {{"class", "cards"}}, cards) + t.markup();
  if (all.maps.size() + 1 < all.planned)
    out = element("p", {{"class", "note"}},
                  "Unfinished: " + std::to_string(all.maps.size() + 1) + " of " + std::to_string(all.planned) +
                      " lines are there. The same sweep command goes on.") +
          out;
  return out;
}

}  // namespace mini_llama::report
