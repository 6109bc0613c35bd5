// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "golden/golden.hpp"
#include "kvsharer/cpu.hpp"
#include "run/session.hpp"
#include "search/find_sharing.hpp"

namespace {

using namespace mini_llama;

const session& shipped() {
  static const session s(golden::model_directory());
  return s;
}

const golden::mini_llama& expected() {
  static const golden::mini_llama g = golden::read_mini_llama();
  return g;
}

search_outcome search(int share, bool resume) {
  return find_sharing(shipped(), expected().calibration_ids, {.share = share, .resume = resume});
}

/// The search for six readers, which several tests look at.
const search_outcome& six() {
  static const search_outcome found = search(6, true);
  return found;
}

TEST_CASE("the distance matrix is the golden one, and so is the ranking") {
  const kvsharer::distance_matrix& d = six().evidence.distances;
  REQUIRE(d.layers() == 24);
  for (const kvsharer::layer_pair p : kvsharer::all_pairs(24)) {
    const double golden_distance = expected()
                                       .distance_matrix.at(static_cast<std::size_t>(p.reader.value))
                                       .at(static_cast<std::size_t>(p.owner.value));
    CHECK(std::abs(d(p) - golden_distance) <= 1e-4 * golden_distance);
  }
  std::vector<std::pair<int, int>> ranked;
  for (const auto p : kvsharer::policy::dissimilar_first{}.rank(d, kvsharer::all_pairs(24)))
    ranked.push_back({p.reader.value, p.owner.value});
  CHECK(ranked == expected().ranked_pairs);
}

TEST_CASE("keys before rotation rank the same") {
  const search_outcome pre = find_sharing(shipped(), expected().calibration_ids, {.share = 0, .keys = "pre-rope"});
  const kvsharer::distance_matrix &before = pre.evidence.distances, &after = six().evidence.distances;
  const kvsharer::policy::dissimilar_first order;
  const auto pairs = kvsharer::all_pairs(24);
  CHECK(order.rank(before, pairs) == order.rank(after, pairs));
  CHECK(pre.evidence.settings.keys == "pre-rope");
  bool rounded_elsewhere = false;  // or the option did nothing
  for (const auto pair : pairs) {
    CHECK(before(pair) == doctest::Approx(after(pair)).epsilon(1e-5));
    rounded_elsewhere |= before(pair) != after(pair);
  }
  CHECK(rounded_elsewhere);
}

TEST_CASE("the strategies are the golden ones, candidate by candidate") {
  REQUIRE(expected().strategies.size() == 3);
  for (const golden::strategy& golden_strategy : expected().strategies) {
    CAPTURE(golden_strategy.share);
    const kvsharer::search_report report =
        golden_strategy.share == 6 ? six().evidence.report : search(golden_strategy.share, true).evidence.report;
    std::vector<int> owners;
    for (kvsharer::layer_id l{0}; l.value < 24; ++l.value) owners.push_back(report.map().owner(l).value);
    CHECK(owners == golden_strategy.layer_map);
    CHECK(report.status == kvsharer::search_status::complete);
    CHECK(report.score == doctest::Approx(golden_strategy.similarity).epsilon(1e-3));
    REQUIRE(report.candidates.size() == golden_strategy.tried.size());
    for (std::size_t i = 0; i < report.candidates.size(); ++i) {
      const kvsharer::candidate& mine = report.candidates[i];
      const golden::candidate& theirs = golden_strategy.tried[i];
      CHECK(mine.pair == kvsharer::layer_pair{{theirs.reader}, {theirs.owner}});
      CHECK(std::abs(mine.score - theirs.similarity) < 1e-3);
      CHECK((mine.outcome == kvsharer::verdict::accepted) == theirs.accepted);
    }
  }
}

TEST_CASE("resuming at the first changed layer changes no bit and saves layer evaluations") {
  const search_outcome &resumed = six(), whole = search(6, false);
  const kvsharer::search_report &a = resumed.evidence.report, &b = whole.evidence.report;
  CHECK(a.map() == b.map());
  CHECK(a.score == b.score);
  REQUIRE(a.candidates.size() == b.candidates.size());
  kvsharer::index_t skipped = 0;
  for (std::size_t i = 0; i < a.candidates.size(); ++i) {
    CHECK(a.candidates[i].score == b.candidates[i].score);
    CHECK(a.candidates[i].pair == b.candidates[i].pair);
    skipped += a.candidates[i].resumed_at.value;
  }
  const auto tried = static_cast<kvsharer::index_t>(a.candidates.size());
  CHECK(whole.layer_evaluations == (tried + 1) * 24);
  CHECK(resumed.layer_evaluations == (tried + 1) * 24 - skipped);
  CHECK(skipped > 0);
}

}  // namespace
