// SPDX-License-Identifier: Apache-2.0
// The search of the shipped model on the device against golden numbers. On a GPU alone: its stand-in would take hours.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "device/gpu.hpp"
#include "golden/golden.hpp"
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

TEST_CASE("the strategies are the golden ones, candidate by candidate") {
  const auto card = open_gpu();
  REQUIRE(expected().strategies.size() == 3);
  for (const golden::strategy& golden_strategy : expected().strategies) {
    CAPTURE(golden_strategy.share);
    const search_outcome found =
        find_sharing(shipped(), expected().calibration_ids, {.share = golden_strategy.share}, card.get());
    for (const kvsharer::layer_pair p : kvsharer::all_pairs(24)) {
      const double golden_distance = expected()
                                         .distance_matrix.at(static_cast<std::size_t>(p.reader.value))
                                         .at(static_cast<std::size_t>(p.owner.value));
      CHECK(std::abs(found.evidence.distances(p) - golden_distance) <= 1e-4 * golden_distance);
    }
    const kvsharer::search_report& report = found.evidence.report;
    CHECK(std::vector<int>(report.map().owners().begin(), report.map().owners().end()) == golden_strategy.layer_map);
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

TEST_CASE("best first by the divergence of predictions finds what it finds on the host") {
  const auto card = open_gpu();
  const token_batch few(expected().calibration_ids.begin(), expected().calibration_ids.begin() + 4);
  const search_request request{.share = 2, .threshold = -1e300, .how = recipe::parse("best:kl")};
  const kvsharer::search_report here = find_sharing(shipped(), few, request, card.get()).evidence.report,
                                there = find_sharing(shipped(), few, request).evidence.report;
  CHECK(here.map() == there.map());
  CHECK(here.score == doctest::Approx(there.score).epsilon(1e-3));
}

TEST_CASE("in the checkpoint's own 16 bits, scores move by no more than rounding does") {
  const auto card = open_gpu();
  const weight_source source{shipped().llama.config(), &shipped().llama};
  const token_batch& samples = expected().calibration_ids;
  const made_probe exact = card->make_probe(source, {.samples = samples, .type = dtype::f32}),
                   own = card->make_probe(source, {samples});
  CHECK(type_of(source, {samples}) == dtype::bf16);
  for (const golden::strategy& golden_strategy : expected().strategies) {
    const auto map = kvsharer::share_map::from_owners(golden_strategy.layer_map).value();
    CHECK(std::abs((*own.runs)(map) - (*exact.runs)(map)) < 1e-2);
  }
}

}  // namespace
