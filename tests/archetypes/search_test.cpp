// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "archetypes/engine_archetypes.hpp"
#include "archetypes/search_archetypes.hpp"
#include "kvsharer/backend/cpu/backend.hpp"
#include "kvsharer/backend/cpu/distances.hpp"
#include "kvsharer/search/best_first.hpp"
#include "kvsharer/search/calibration_average.hpp"
#include "kvsharer/search/find_share_map.hpp"

using namespace kvsharer;

namespace {

constexpr cache_shape shape{.layers = 7, .kv_heads = 3, .head_dim = 70, .capacity = 40};
constexpr int tokens = 37;

/// Small integers over four, different in every place and sample: exact in float.
double number(int sample, int plane, index_t l, index_t h, index_t t, index_t d) {
  return static_cast<double>((sample * 17 + plane * 5 + l * l * 3 + h * 7 + t * 11 + d * 13 + l * d) % 29 - 14) / 4;
}

/// One sample's cache. Its values are stored negated, as the archetype has it.
auto stored(int sample) {
  return [sample](int plane, index_t l, index_t h, index_t t, index_t d) {
    return number(sample, plane, l, h, t, d) * (plane == 0 ? 1 : -1);
  };
}

/// The mean over a plane of |number - number| of two layers.
double plane_difference(int sample, int plane, layer_pair p) {
  double sum = 0;
  for (index_t h = 0; h < shape.kv_heads; ++h)
    for (index_t t = 0; t < tokens; ++t)
      for (index_t d = 0; d < shape.head_dim; ++d)
        sum += std::abs(number(sample, plane, p.reader.value, h, t, d) - number(sample, plane, p.owner.value, h, t, d));
  return sum / static_cast<double>(shape.kv_heads * tokens * shape.head_dim);
}

template <fold_scope Scope>
void check_distances() {
  const archetypes::cache cache(shape, tokens, stored(1));
  const archetypes::mean_difference<Scope> metric(3);
  const distance_matrix d = cpu::layer_distances(cpu::backend{}, cache, metric);
  REQUIRE(d.layers() == shape.layers);
  for (layer_pair p : all_pairs(d.layers())) {
    const double expected = 3 * (plane_difference(1, 0, p) + plane_difference(1, 1, p)) / 2;
    CHECK(d(p) == doctest::Approx(expected).epsilon(1e-12));
  }
}

/// Worked by hand: with 4 layers the reverse order is (3,2) (3,1) (3,0) (2,1) (2,0) (1,0). (3,2) is accepted; (3,1) and
/// (3,0) are skipped, since 3 reads already; (2,1) and (2,0) make the deaf layer 2 read and are refused; (1,0) is
/// accepted and ends the search for two.
const std::vector<layer_pair> expected_candidates{{{3}, {2}}, {{2}, {1}}, {{2}, {0}}, {{1}, {0}}};
const std::vector<int> expected_owners{0, 0, 2, 2};

void check_report(const search_report& report) {
  CHECK(report.status == search_status::complete);
  CHECK(report.map() == share_map::from_owners(expected_owners).value());
  CHECK(report.pairs_skipped == 2);
  REQUIRE(report.candidates.size() == expected_candidates.size());
  for (std::size_t i = 0; i < expected_candidates.size(); ++i) {
    CHECK(report.candidates[i].pair == expected_candidates[i]);
    const bool good = i == 0 || i == 3;
    CHECK(report.candidates[i].outcome == (good ? verdict::accepted : verdict::below_threshold));
    CHECK(report.candidates[i].score == (good ? 1.0 : 0.0));
  }
}

}  // namespace

TEST_CASE("calibration_average takes any KVCache") {
  calibration_average mean;
  for (int sample = 0; sample < 4; ++sample) mean.add(archetypes::cache(shape, tokens, stored(sample)));
  REQUIRE(mean.length() == tokens);
  for (int plane = 0; plane < 2; ++plane)
    for (layer_id l{0}; l.value < shape.layers; ++l.value) {
      const auto view = plane == 0 ? mean.keys(l) : mean.values(l);
      for (index_t h = 0; h < shape.kv_heads; ++h)
        for (index_t t = 0; t < tokens; ++t)
          for (index_t d = 0; d < shape.head_dim; ++d) {
            double expected = 0;
            for (int sample = 0; sample < 4; ++sample) expected += number(sample, plane, l.value, h, t, d) / 4;
            REQUIRE(static_cast<double>(view.at(h, t, d)) == doctest::Approx(expected).epsilon(1e-5));
          }
    }
}

TEST_CASE("layer_distances takes any KVCache and any DistanceMetric") {
  check_distances<fold_scope::row>();
  check_distances<fold_scope::plane>();
}

TEST_CASE("find_share_map takes any SharePolicy and any FidelityProbe") {
  const archetypes::last_pair_first policy(0);
  archetypes::probe probe(2);
  const search_report report = find_share_map(distance_matrix(4), policy, probe, {.share = 2});
  check_report(report);
  CHECK(probe.calls == 4);
  CHECK(report.layer_evaluations == report.layer_evaluations_without_resume);
}

TEST_CASE("find_share_map takes any ResumableProbe, and gives the same map for less work") {
  const archetypes::last_pair_first policy(0);
  archetypes::resumable_probe probe(4, 2);
  const search_report report = find_share_map(distance_matrix(4), policy, probe, {.share = 2});
  check_report(report);
  CHECK(probe.honest);
  CHECK(probe.resumed == 4);
  CHECK(probe.accepted == report.map());
  CHECK(report.layer_evaluations == (4 - 3) + (4 - 2) + (4 - 2) + (4 - 1));
  CHECK(report.layer_evaluations_without_resume == 4 * 4);

  archetypes::resumable_probe from_the_start(4, 2);
  check_report(find_share_map(distance_matrix(4), policy, from_the_start, {.share = 2, .resume = false}));
  CHECK(from_the_start.resumed == 0);
}

TEST_CASE("find_best_share_map takes any FidelityProbe, and tells a ResumableProbe the truth") {
  // All scores are equal but for the deaf layer's, so that the lowest readers are taken: 1, then 3.
  const share_map expected = share_map::from_owners(std::vector{0, 0, 2, 0}).value();
  archetypes::probe probe(2);
  const search_report report = find_best_share_map(4, probe, {.share = 2, .lazy = false});
  CHECK(report.map() == expected);
  CHECK(probe.calls == 1 + 6 + 3);

  for (int beam : {1, 3}) {
    archetypes::resumable_probe resumable(4, 2);
    CHECK(find_best_share_map(4, resumable, {.share = 2, .beam = beam, .lazy = false}).map() == expected);
    CHECK(resumable.honest);
    CHECK(resumable.accepted == expected);
    // Maps that are continued or returned run once more; neither (1,0) nor (3,0) was the last one scored of its step.
    CHECK(resumable.resumed >= 1 + 6 + 1 + 3 + 1);
  }
}
