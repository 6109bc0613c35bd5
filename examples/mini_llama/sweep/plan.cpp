// SPDX-License-Identifier: Apache-2.0
#include "sweep/plan.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include "kvsharer/core/finite.hpp"
#include "probe/choices.hpp"

namespace mini_llama {
namespace {

struct seeded_order {
  std::string name;
  std::uint64_t seed;
};

constexpr std::array parts_names{"apart", "keys", "values"};

bool shares_parts(const std::string& kind) {
  return std::find(parts_names.begin(), parts_names.end(), kind) != parts_names.end();
}

/// What may stand behind the colon of a best-first search.
bool known_kind(const std::string& kind) { return kind == "kl" || shares_parts(kind); }

/// "similar", "random", "random:5", "best:kl" or "best:apart".
std::vector<seeded_order> parse_order(const std::string& text) {
  const std::size_t colon = text.find(':');
  const std::string name = text.substr(0, colon);
  if (is_best_first(name) && colon != std::string::npos && known_kind(text.substr(colon + 1))) return {{text, 0}};
  if (std::find(order_names.begin(), order_names.end(), name) == order_names.end() || name == "explicit") {
    std::string known;
    for (const std::string order : order_names)
      if (order != "explicit") known += (known.empty() ? "" : ", ") + order;
    throw usage_error(
        "--order " + text + " is no rule that a sweep can follow; choose from " + known +
        ", with random:5 for five seeds, best:kl for the divergence as the score, and best:apart, best:keys and "
        "best:values to share only keys or only values");
  }
  if (colon == std::string::npos) return {{name, 0}};
  int seeds = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data() + colon + 1, end, seeds);
  if (name != "random" || failure != std::errc{} || rest != end || seeds < 1 || seeds > 1000)
    throw usage_error("--order " + text + ": only random has seeds, 1 to 1000 of them, as in random:5");
  std::vector<seeded_order> all;
  for (int seed = 0; seed < seeds; ++seed) all.push_back({name, static_cast<std::uint64_t>(seed)});
  return all;
}

/// Without what was there before.
template <class T>
void add(std::vector<T>& list, const T& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

}  // namespace

rule rule_of(const std::string& order) {
  const std::size_t colon = order.find(':');
  const std::string kind = colon == std::string::npos ? "" : order.substr(colon + 1);
  const bool halves = shares_parts(kind);
  return {order.substr(0, colon), kind.empty() || halves ? "cosine" : kind, halves ? kind : "together"};
}

std::vector<combination> make_plan(const sweep_axes& axes, int layers) {
  std::vector<int> shares;
  for (const std::string& share : axes.share) {
    const int wanted = parse_share(share, layers);
    if (wanted == 0)
      throw usage_error("--share " + share + " shares no layer of " + std::to_string(layers) +
                        "; the full model is measured anyway");
    shares.push_back(wanted);
  }
  std::sort(shares.begin(), shares.end());
  std::vector<seeded_order> orders;
  for (const std::string& order : axes.order)
    for (const seeded_order& o : parse_order(order)) orders.push_back(o);
  for (const std::string& metric : axes.metric)
    if (std::find(metric_names.begin(), metric_names.end(), metric) == metric_names.end())
      throw usage_error("there is no metric \"" + metric + "\"");
  for (const int samples : axes.samples)
    if (samples < 1) throw usage_error("--samples " + std::to_string(samples) + " is less than one");
  for (const double threshold : axes.threshold)
    if (!kvsharer::is_finite(threshold)) throw usage_error("--threshold is not a number");

  std::vector<combination> plan;
  const auto has_a_say = [&](const rule& r, const std::string& metric, double threshold) {
    return (!is_best_first(r.order) || metric == axes.metric.front()) &&
           (r.objective == "cosine" || threshold == axes.threshold.front());
  };
  for (const int samples : axes.samples)
    for (const std::string objective : objective_names)
      for (const std::string& metric : axes.metric)
        for (const double threshold : axes.threshold)
          for (const seeded_order& order : orders) {
            const rule r = rule_of(order.name);
            if (r.objective != objective || !has_a_say(r, metric, threshold)) continue;
            for (const int share : shares) add(plan, {share, order.name, order.seed, metric, samples, threshold});
          }
  if (plan.empty()) throw usage_error("a sweep needs at least one of each: share, order, metric, samples, threshold");
  return plan;
}

nlohmann::ordered_json to_json(const combination& c) {
  return {{"share", c.share},   {"order", c.order},     {"seed", c.seed},
          {"metric", c.metric}, {"samples", c.samples}, {"threshold", c.threshold}};
}

std::string describe(const combination& c, int layers) {
  return c.order + (c.order == "random" ? " (seed " + std::to_string(c.seed) + ")" : "") + ", " +
         std::to_string(c.share) + " of " + std::to_string(layers);
}

}  // namespace mini_llama
