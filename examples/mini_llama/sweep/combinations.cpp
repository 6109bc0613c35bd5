// SPDX-License-Identifier: Apache-2.0
#include "sweep/combinations.hpp"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "kvsharer/core/finite.hpp"
#include "probe/choices.hpp"

namespace mini_llama {
namespace {

struct seeded_recipe {
  recipe how;
  std::uint64_t seed = 0;
};

/// "random:5", whose number is of seeds; nothing where the text is not of random.
std::vector<seeded_recipe> parse_seeds(const std::string& text) {
  const std::string random = recipe(search_order::random).text() + ":";
  if (!text.starts_with(random)) return {};
  int seeds = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data() + random.size(), end, seeds);
  if (failure != std::errc{} || rest != end || seeds < 1 || seeds > 1000)
    throw usage_error("--order " + text + ": random has 1 to 1000 seeds, as in random:5");
  std::vector<seeded_recipe> all;
  for (int seed = 0; seed < seeds; ++seed)
    all.push_back({recipe(search_order::random), static_cast<std::uint64_t>(seed)});
  return all;
}

/// What one --order asks for.
std::vector<seeded_recipe> parse_order(const std::string& text) {
  std::vector<seeded_recipe> seeds = parse_seeds(text);
  if (!seeds.empty()) return seeds;
  const recipe how = recipe::parse(text);
  if (how.order() == search_order::explicit_map)
    throw usage_error("--order " + text + " is a single map; a sweep needs a search rule");
  if (!how.has_threshold() && !how.is_best_first())
    throw usage_error("--order " + text + ": in a sweep, only best and best-suffix are scored by the divergence");
  return {{how}};
}

/// Without what was there before.
template <class T>
void add(std::vector<T>& list, const T& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

}  // namespace

std::vector<combination> combinations_of(const sweep_axes& axes, int layers) {
  std::vector<int> shares;
  for (const std::string& share : axes.share) {
    const int wanted = parse_share(share, layers);
    if (wanted == 0)
      throw usage_error("--share " + share + " shares no layer of " + std::to_string(layers) +
                        "; the full model is measured anyway");
    shares.push_back(wanted);
  }
  std::sort(shares.begin(), shares.end());
  std::vector<seeded_recipe> recipes;
  for (const std::string& order : axes.order)
    for (const seeded_recipe& r : parse_order(order)) recipes.push_back(r);
  for (const std::string& metric : axes.metric)
    if (std::find(metric_names.begin(), metric_names.end(), metric) == metric_names.end())
      throw usage_error("there is no metric \"" + metric + "\"");
  for (const int samples : axes.samples)
    if (samples < 1) throw usage_error("--samples " + std::to_string(samples) + " is less than one");
  for (const double threshold : axes.threshold)
    if (!kvsharer::is_finite(threshold)) throw usage_error("--threshold is not a number");

  std::vector<combination> all;
  const auto has_a_say = [&](const recipe& how, const std::string& metric, double threshold) {
    return (!how.is_best_first() || metric == axes.metric.front()) &&
           (how.has_threshold() || threshold == axes.threshold.front());
  };
  for (const int samples : axes.samples)
    for (const std::string objective : objective_names)
      for (const std::string& metric : axes.metric)
        for (const double threshold : axes.threshold)
          for (const auto& [how, seed] : recipes) {
            if (how.objective() != objective || !has_a_say(how, metric, threshold)) continue;
            for (const int share : shares) add(all, {share, how, seed, metric, samples, threshold});
          }
  if (all.empty()) throw usage_error("a sweep needs at least one of each: share, order, metric, samples, threshold");
  return all;
}

nlohmann::ordered_json to_json(const combination& c) {
  return {{"share", c.share},   {"order", c.how.text()}, {"seed", c.seed},
          {"metric", c.metric}, {"samples", c.samples},  {"threshold", c.threshold}};
}

std::string describe(const combination& c, int layers) {
  return c.how.text() + (c.how.has_seeds() ? " (seed " + std::to_string(c.seed) + ")" : "") + ", " +
         std::to_string(c.share) + " of " + std::to_string(layers);
}

}  // namespace mini_llama
