// SPDX-License-Identifier: Apache-2.0
// Every budget against the integers of a reference program in Python (tests/golden/methods).
#include <doctest/doctest.h>

#include <cstddef>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/kvsharer.hpp"

using namespace kvsharer;
using nlohmann::json;

namespace {

const json& golden() {
  static const json all = [] {
    std::ifstream in(std::string(KVSHARER_SOURCE_DIR) + "/tests/golden/methods/budgets.json");
    return json::parse(in);
  }();
  return all;
}

std::vector<index_t> integers(const json& j) { return j.get<std::vector<index_t>>(); }

/// The numbers of nested lists, one after the other.
template <class T>
std::vector<T> flat(const json& j) {
  std::vector<T> all;
  for (const json& row : j)
    if (row.is_array()) {
      const std::vector<T> below = flat<T>(row);
      all.insert(all.end(), below.begin(), below.end());
    } else {
      all.push_back(row.get<T>());
    }
  return all;
}

/// The tokens of each set, of a budget whose heads agree.
std::vector<index_t> of_sets(const token_budget& b) {
  CHECK(b.even_heads());
  std::vector<index_t> tokens;
  for (index_t s = 0; s < b.sets(); ++s) tokens.push_back(b.at(s, 0));
  return tokens;
}

}  // namespace

TEST_CASE("golden: largest remainder") {
  for (const json& c : golden()["largest_remainder"])
    CHECK(budget::largest_remainder(flat<double>(c["real"]), c["total"]) == integers(c["integers"]));
}

TEST_CASE("golden: minimum_tokens") {
  for (const json& c : golden()["mba"])
    for (const double tau : {0.5, 0.8, 0.9, 0.99}) {
      const std::string key = "tau_" + json(tau).dump();
      CHECK(budget::minimum_tokens(flat<float>(c["weights"]), tau) == c[key].get<index_t>());
    }
}

TEST_CASE("golden: pyramidkv") {
  for (const json& c : golden()["pyramidkv"]) {
    CAPTURE(c.dump());
    const index_t window = c["window"];
    const budget_request r{.sets = c["owners"], .kv_heads = 2, .tokens = c["n"], .average = c["C"], .least = window};
    std::vector<index_t> older = of_sets(budget::pyramidkv{.beta = c["beta"]}.spread({}, r).value());
    for (index_t& n : older) n -= window;
    CHECK(older == integers(c["older_tokens"]));
  }
}

TEST_CASE("golden: zigzagkv") {
  for (const json& c : golden()["zigzagkv"]) {
    CAPTURE(c.dump());
    const std::vector<double> lmba = flat<double>(c["lmba"]);
    const budget_request r{.sets = static_cast<index_t>(lmba.size()),
                           .kv_heads = 1,
                           .tokens = c["max_per_layer"],
                           .average = c["average"],
                           .least = c["min_per_layer"]};
    CHECK(of_sets(budget::zigzagkv{.floor = c["floor_ratio"]}.spread({.spread = lmba}, r).value()) ==
          integers(c["integers"]));
  }
}

TEST_CASE("golden: baklava") {
  using rule = budget::baklava::rule;
  for (const json& c : golden()["baklava"]) {
    const std::vector<double> importance = flat<double>(c["importance"]);
    const auto sets = static_cast<index_t>(c["importance"].size());
    const budget_request r{.sets = sets,
                           .kv_heads = static_cast<index_t>(importance.size()) / sets,
                           .tokens = c["max_per_head"],
                           .average = c["average_per_head"],
                           .least = c["min_per_head"]};
    const auto tokens = [&](const budget::baklava& b) {
      return b.spread({.importance = importance}, r).value().tokens;
    };
    for (const double alpha : {0.25, 0.5, 1.0})
      CHECK(tokens({.by = rule::tempered, .alpha = alpha}) == integers(c["proportional_alpha_" + json(alpha).dump()]));
    CHECK(tokens({.low = .5, .high = .25, .kept = .5}) == integers(c["two_threshold_0.5_0.25_0.5"]));
    CHECK(tokens({.low = .25, .high = .1, .kept = .25}) == integers(c["two_threshold_0.25_0.1_0.25"]));
    CHECK(tokens({.low = .75, .high = .25, .kept = .75}) == integers(c["two_threshold_0.75_0.25_0.75"]));
    CHECK(tokens({.by = rule::floor}) == integers(c["floor_0.2"]));
  }
}

TEST_CASE("golden: pyramidinfer") {
  for (const json& c : golden()["pyramidinfer_counts"]) {
    CAPTURE(c.dump());
    const budget::pyramidinfer p{.recent = c["recent_ratio"],
                                 .decay = c["prefill_decay_ratio"],
                                 .min_context = c["min_context"],
                                 .interval = c["interval"]};
    CHECK(p.per_layer(c["n"], c["layers"]) == integers(c["stored_per_layer"]));
  }
}

TEST_CASE("golden: budgets of the shipped model, with and without readers") {
  int budgets = 0;
  for (const json& p : golden()["model"]) {
    const share_plan plan = share_map::from_owners(flat<int>(p["source"])).value();
    const index_t sets = token_sets(plan).count();
    const std::vector<double> mba = flat<double>(p["mba"]);
    const index_t heads = static_cast<index_t>(mba.size()) / plan.layers();
    for (const json& b : p["budgets"])
      for (const auto& item : b.items()) {
        const std::string name = item.key();
        const json& expected = item.value();
        if (name == "average") continue;
        CAPTURE(p["tokens"].dump());
        CAPTURE(b["average"].dump());
        CAPTURE(name);
        budget_request r{.sets = sets, .kv_heads = heads, .tokens = p["tokens"], .average = b["average"], .least = 32};
        const budget::readers how = name.ends_with("_max")    ? budget::readers::largest
                                    : name.ends_with("_mean") ? budget::readers::mean
                                                              : budget::readers::ignored;
        if (name.starts_with("pyramidkv")) {
          r.least = name.starts_with("pyramidkv_w8") ? 8 : 32;
          std::vector<index_t> older = of_sets(budget::pyramidkv{}.spread({}, r).value());
          for (index_t& n : older) n -= r.least;
          CHECK(older == integers(expected));
        } else if (name.starts_with("zigzagkv")) {
          // The mean over heads comes before the largest over readers.
          std::vector<double> layer(static_cast<std::size_t>(plan.layers()));
          for (std::size_t i = 0; i < mba.size(); ++i)
            layer[i / static_cast<std::size_t>(heads)] += mba[i] / static_cast<double>(heads);
          const std::vector<double> spread = budget::over_readers(plan, layer, 1, how);
          CHECK(of_sets(budget::zigzagkv{}.spread({.spread = spread}, r).value()) == integers(expected));
        } else {
          r.least = 40;
          const budget::baklava method = name.starts_with("baklava_two_threshold")
                                             ? budget::baklava{}
                                             : budget::baklava{.by = budget::baklava::rule::tempered};
          const std::vector<double> importance = budget::over_readers(plan, flat<double>(p["importance"]), heads, how);
          CHECK(method.spread({.importance = importance}, r).value().tokens == flat<index_t>(expected));
        }
        ++budgets;
      }
  }
  CHECK(budgets >= 40);
}
