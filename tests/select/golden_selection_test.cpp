// SPDX-License-Identifier: Apache-2.0
// SnapKV and H2O with grouped queries against a reference program in Python (tests/golden/methods).
#include <doctest/doctest.h>

#include <cstddef>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/kvsharer.hpp"

using namespace kvsharer;
using namespace kvsharer::select;
using nlohmann::json;
using floats = std::vector<float>;
using slots = std::vector<index_t>;

namespace {

const json& golden() {
  static const json all = [] {
    std::ifstream in(std::string(KVSHARER_SOURCE_DIR) + "/tests/golden/methods/selection.json");
    return json::parse(in);
  }();
  return all;
}

constexpr index_t heads = 8, kv_heads = 2;

}  // namespace

TEST_CASE("golden: snapkv keeps the same tokens, by every pooling and reduction") {
  int cases = 0;
  for (const json& c : golden()["snapkv"]) {
    CAPTURE(c.dump());
    const std::string pool = c["pooling"], group = c["group_reduce"];
    const snapkv s{.window = c["window"],
                   .kernel = c["kernel"],
                   .pool = pool == "max"    ? pooling::largest
                           : pool == "avg"  ? pooling::average
                           : pool == "none" ? pooling::none
                                            : pooling::average_inside,
                   .group = group == "mean"  ? reduce::mean
                            : group == "sum" ? reduce::sum
                                             : reduce::largest};
    const floats votes = golden()["votes"][std::to_string(s.window)].get<floats>();
    const index_t capacity = c["capacity"], counts[] = {capacity, capacity};
    CHECK(s.kept(s.scores(votes, heads, kv_heads), counts, golden()["prompt"]) == c["kept"].get<kept_tokens>());
    ++cases;
  }
  CHECK(cases == 18);
}

TEST_CASE("golden: h2o keeps the same tokens of the prompt, and drops the same in decode") {
  const floats sums = golden()["sums"].get<floats>();
  const std::size_t n = golden()["prompt"];
  const floats normalised = observed_attention{}.scores(sums, kv_heads, kv_heads);
  const floats expected = golden()["sums_by_visible_queries"].get<floats>();
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK(normalised[i] / 4 == doctest::Approx(expected[i]).epsilon(1e-5));  // the mean over a group of four

  for (const json& c : golden()["h2o"]) {
    const index_t heavy = c["heavy"], recent = c["recent"];
    CAPTURE(heavy);
    CAPTURE(recent);
    const auto prompt = c["kept_after_prefill"].get<kept_tokens>();
    for (std::size_t h = 0; h < 2; ++h) {
      CAPTURE(h);
      floats of_head(sums.begin() + static_cast<std::ptrdiff_t>(h * n),
                     sums.begin() + static_cast<std::ptrdiff_t>((h + 1) * n));
      const slots kept = best_tokens(of_head, heavy + recent, {.recent = recent});
      CHECK(kept == prompt[h]);
      if (heavy == recent) {
        const index_t count[] = {heavy + recent};
        CHECK(h2o{}.kept(of_head, count).front() == prompt[h]);
      }
      if (!c.contains("rows")) continue;
      slots positions = kept;
      floats scores;
      for (const index_t s : kept) scores.push_back(of_head[static_cast<std::size_t>(s)]);
      for (std::size_t step = 0; step < c["rows"].size(); ++step) {
        positions.push_back(static_cast<index_t>(n + step));
        scores.push_back(0);
        add_attention(scores, c["rows"][step][h].get<floats>());
        const std::optional<index_t> gone = h2o{}.dropped(scores, heavy + recent, recent);
        REQUIRE(gone.has_value());
        CHECK(positions[static_cast<std::size_t>(*gone)] == c["evicted"][step][h].get<index_t>());
        positions.erase(positions.begin() + *gone);
        scores.erase(scores.begin() + *gone);
      }
      const floats last = c["final_scores"][h].get<floats>();
      REQUIRE(last.size() == scores.size());
      for (std::size_t i = 0; i < last.size(); ++i) CHECK(scores[i] == doctest::Approx(last[i]).epsilon(2e-5));
    }
  }
}

TEST_CASE("golden scores, budgets and selectors meet: adakv over snapkv") {
  const snapkv s{.window = 16};
  const floats scores = s.scores(golden()["votes"]["16"].get<floats>(), heads, kv_heads);
  const budget_request r{.sets = 1, .kv_heads = kv_heads, .tokens = 120, .average = 40, .least = 16};
  const token_budget b = budget::adakv<>{}.spread({.scores = scores}, r).value();
  CHECK(b.total() == 80);
  const kept_tokens kept = s.kept(scores, b.tokens, 120);
  for (std::size_t h = 0; h < 2; ++h) {
    CHECK(static_cast<index_t>(kept[h].size()) == b.tokens[h]);
    CHECK(slots(kept[h].end() - 16, kept[h].end()).front() == 104);
  }
}
