// SPDX-License-Identifier: Apache-2.0
// What find_best_share_map promises, on scores that are looked up.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "kvsharer/kvsharer.hpp"

using namespace kvsharer;

namespace {

using owners = std::vector<int>;
constexpr double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();

owners of(const share_map& m) { return {m.owners().begin(), m.owners().end()}; }

/// A number in [0, 1) that depends on the map and the seed and follows no rule.
double noise(const share_map& m, std::uint64_t seed) {
  std::uint64_t x = m.hash() ^ (seed * 0x9e3779b97f4a7c15u);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1p-53;
}

/// Each reader costs more the further away its owner and the more readers there are: no move becomes cheaper.
double growing_costs(const share_map& m, std::uint64_t seed) {
  double cost = 0;
  for (layer_id l{0}; l.value < m.layers(); ++l.value)
    cost += noise(share_map::identity(l.value + 1), seed) * (l.value - m.owner(l).value);
  return -cost * (1 + 0.1 * m.reader_count());
}

/// One step as the definition has it: every pair tried, readers as owners included.
template <class Probe>
share_map best_step(const share_map& from, Probe&& probe) {
  share_map best;
  double best_score = -inf;
  for (layer_pair p : all_pairs(from.layers())) {
    if (!from.owns(p.reader)) continue;
    share_map m = from.with(p).value();
    if (const double s = probe(m); s > best_score) best = m, best_score = s;
  }
  return best;
}

TEST_CASE("a search goes on from the map that a model has already") {
  const share_map own = share_map::from_owners(std::vector{0, 1, 2, 3, 3}).value();
  const auto probe = [](const share_map& m) { return growing_costs(m, 3); };
  const search_report r = find_best_share_map(5, probe, {.share = 2, .lazy = false, .start = own});
  CHECK(r.map() == best_step(own, probe));
  CHECK(find_best_share_map(5, probe, {.share = 1, .start = own}).map() == own);
}

TEST_CASE("without guesses every step takes the best of all moves, each map scored once") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<owners> asked;
    const search_report r = find_best_share_map(
        7, [&](const share_map& m) { return asked.push_back(of(m)), noise(m, seed); }, {.share = 4, .lazy = false});
    share_map expected = share_map::identity(7);
    for (int i = 0; i < 4; ++i) expected = best_step(expected, [&](const share_map& m) { return noise(m, seed); });
    CHECK(r.map() == expected);
    CHECK(r.score == noise(expected, seed));
    CHECK(r.status == search_status::complete);
    // Owners 7, 6, 5 and 4 have 21, 15, 10 and 6 pairs; and the full model.
    CHECK(r.candidates.size() == 21 + 15 + 10 + 6);
    CHECK(asked.size() == r.candidates.size() + 1);
    CHECK(std::set<owners>(asked.begin(), asked.end()).size() == asked.size());
    CHECK(r.pairs_ranked == 21);
    CHECK(r.pairs_skipped == 0);
    CHECK(r.layer_evaluations == 53 * 7);
    CHECK(r.layer_evaluations_without_resume == 53 * 7);
  }
}

TEST_CASE("guesses change nothing where no move becomes cheaper, and save most of the work") {
  std::size_t lazy_tried = 0, exact_tried = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto probe = [&](const share_map& m) { return growing_costs(m, seed); };
    for (int share : {1, 5, 11}) {
      const search_report exact = find_best_share_map(12, probe, {.share = share, .lazy = false});
      const search_report lazy = find_best_share_map(12, probe, {.share = share});
      CHECK(lazy.map() == exact.map());
      CHECK(lazy.score == exact.score);
      CHECK(lazy.candidates.size() + lazy.pairs_skipped == exact.candidates.size());
      lazy_tried += lazy.candidates.size();
      exact_tried += exact.candidates.size();
    }
  }
  CHECK(lazy_tried < exact_tried * 6 / 10);
}

TEST_CASE("on scores without any rule a lazy step takes the best of those it scored; enough slack scores all") {
  bool differed = false;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto probe = [&](const share_map& m) { return m.reader_count() ? noise(m, seed) : 0.999; };
    const search_report exact = find_best_share_map(8, probe, {.share = 5, .lazy = false});
    const search_report lazy = find_best_share_map(8, probe, {.share = 5, .slack = 0});
    CHECK(find_best_share_map(8, probe, {.share = 5, .slack = 1e12}).map() == exact.map());
    CHECK(find_best_share_map(8, probe, {.share = 1}).map() ==
          find_best_share_map(8, probe, {.share = 1, .lazy = false}).map());
    differed |= !(lazy.map() == exact.map());
    double best = -inf, taken = -inf;
    std::size_t steps = 0;
    for (const candidate& c : lazy.candidates) {
      if (c.rank == 0) {
        CHECK(taken == best);
        ++steps;
        best = taken = -inf;
      }
      best = std::max(best, c.score);
      if (c.outcome == verdict::accepted) taken = c.score;
    }
    CHECK(taken == best);
    CHECK(steps == 5);
    CHECK(lazy.score == taken);
  }
  CHECK(differed);  // otherwise slack showed nothing
}

TEST_CASE("equal scores go to the lowest reader, then to the lowest owner, guessed or not") {
  for (bool lazy : {false, true})
    for (int beam : {1, 3}) {
      const search_report r =
          find_best_share_map(5, [](const share_map&) { return 0.7; }, {.share = 3, .beam = beam, .lazy = lazy});
      CHECK(of(r.map()) == owners{0, 0, 0, 0, 4});
    }
  // The first step lifts every guess to 0.9; all moves of the second then score 0.5, and the lowest one is taken.
  const auto probe = [](const share_map& m) { return of(m) == owners{0, 0, 2, 3} ? 0.9 : 0.5; };
  CHECK(of(find_best_share_map(4, probe, {.share = 2}).map()) == owners{0, 0, 0, 3});
}

TEST_CASE("the threshold is strict, may be anything but NaN, and giving up means that every move was scored") {
  const auto one_only = [](const share_map& m) {
    return m.reader_count() == 0 ? 1 : m.reader_count() == 1 ? 0.9 : 0.5;
  };
  for (bool lazy : {false, true}) {
    const search_report r = find_best_share_map(5, one_only, {.share = 3, .threshold = 0.5, .lazy = lazy});
    CHECK(r.status == search_status::ranking_exhausted);
    CHECK(r.accepted() == 1);
    CHECK(r.score == 0.9);
    CHECK(r.candidates.size() == 10 + 6);
    CHECK(std::count_if(r.candidates.begin(), r.candidates.end(),
                        [](const candidate& c) { return c.outcome == verdict::accepted; }) == 1);
    CHECK(r.candidates.back().outcome == verdict::below_threshold);
    CHECK(find_best_share_map(5, one_only, {.share = 3, .threshold = std::nextafter(0.5, 0.0), .lazy = lazy})
              .accepted() == 3);
  }
  const auto very_low = [](const share_map& m) { return -1e300 * m.reader_count(); };
  CHECK(find_best_share_map(5, very_low, {.share = 3}).accepted() == 3);
  CHECK_THROWS_WITH_AS(
      (void)find_best_share_map(5, one_only, {.share = 3, .threshold = 0.5, .throw_when_missed = true}),
      doctest::Contains("only 1 of 3"), error);
  CHECK(find_best_share_map(5, one_only, {.share = 3, .threshold = inf}).accepted() == 0);
  for (const best_first_options& bad : {best_first_options{.share = 1, .threshold = nan},
                                        {.share = 1, .beam = 0},
                                        {.share = 1, .slack = nan},
                                        {.share = 1, .slack = -0.1},
                                        {.share = 1, .slack = inf}})
    CHECK_THROWS_WITH_AS((void)find_best_share_map(5, one_only, bad), doctest::Contains("E303"), error);
}

TEST_CASE("scores that are not finite reject their moves at every step; of the full model they are an error") {
  for (double bad : {nan, inf, -inf})
    for (int beam : {1, 3})
      for (bool lazy : {false, true}) {
        // Layer 3 must not read, whoever it is asked to.
        const auto probe = [&](const share_map& m) { return m.owns({3}) ? -m.reader_count() : bad; };
        const search_report r = find_best_share_map(6, probe, {.share = 5, .beam = beam, .lazy = lazy});
        CHECK(r.map().owns({3}));
        CHECK(r.accepted() == 4);
        CHECK(r.status == search_status::ranking_exhausted);
        for (const candidate& c : r.candidates) {
          CHECK((c.outcome == verdict::not_finite) == (c.pair.reader.value == 3));
          CHECK(std::isfinite(c.score) == (c.pair.reader.value != 3));
        }
        CHECK(r.candidates.back().outcome == verdict::not_finite);
      }
  CHECK_THROWS_WITH_AS((void)find_best_share_map(6, [](const share_map&) { return nan; }, {.share = 1}),
                       doctest::Contains("E406"), error);
  const search_report none =
      find_best_share_map(6, [](const share_map& m) { return m.reader_count() ? nan : 1.0; }, {.share = 1});
  CHECK(none.map() == share_map::identity(6));
  CHECK(none.score == 1);
  CHECK(none.candidates.size() == 15);
}

TEST_CASE("asking for nothing runs nothing; asking for too much is an error; all but one layer can read") {
  int calls = 0;
  const auto count = [&](const share_map&) { return ++calls, 1.0; };
  CHECK(find_best_share_map(4, count).map() == share_map::identity(4));
  CHECK(find_best_share_map(0, count).map().layers() == 0);
  for (int share : {-1, 4, 5})
    CHECK_THROWS_WITH_AS((void)find_best_share_map(4, count, {.share = share}), doctest::Contains("E404"), error);
  CHECK(calls == 0);
  for (bool suffix : {false, true})
    for (int beam : {1, 4})
      CHECK(of(find_best_share_map(4, count, {.share = 3, .beam = beam, .suffix_only = suffix}).map()) ==
            owners{0, 0, 0, 0});
}

TEST_CASE("layers that may not share never do, not even by way of a chain") {
  best_first_options options{.share = 4, .lazy = false};
  options.shareable = [](layer_id a, layer_id b) { return a.value % 2 == b.value % 2 || b.value == 4; };
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    // 5 may read 4 at first, but once it does 4 may no longer read: 5 would follow it.
    const search_report r = find_best_share_map(
        6,
        [&](const share_map& m) {
          for (layer_id l{0}; l.value < 6; ++l.value) CHECK((m.owns(l) || options.shareable(l, m.owner(l))));
          return noise(m, seed);
        },
        options);
    CHECK((r.accepted() == 4 || r.map().owner({5}).value == 4));
    CHECK(r.pairs_ranked == 7);
  }
}

TEST_CASE("suffix only: the readers are always the last layers") {
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    for (int share = 1; share < 7; ++share) {
      const search_report r = find_best_share_map(7,
                                                  [&](const share_map& m) {
                                                    for (layer_id l{0}; l.value < 7; ++l.value)
                                                      CHECK(m.owns(l) == (l.value < 7 - m.reader_count()));
                                                    return noise(m, seed);
                                                  },
                                                  {.share = share, .suffix_only = true});
      CHECK(r.accepted() == share);
      // The reader is given, its owner is not: 6 moves, then 5, then 4.
      CHECK(r.candidates.size() == static_cast<std::size_t>(share * (13 - share) / 2));
    }
}

TEST_CASE("a beam keeps the best maps of every step, each scored once") {
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    for (std::size_t beam : {2u, 5u}) {
      // By the definition: all moves of all maps kept, the best of the maps that come of it.
      const auto score = [&](const share_map& m) { return noise(m, seed); };
      std::vector<share_map> kept{share_map::identity(6)};
      std::size_t maps = 0;
      for (int step = 0; step < 3; ++step) {
        std::vector<share_map> next;
        for (const share_map& from : kept)
          for (layer_pair p : all_pairs(6))
            if (from.owns(p.reader))
              if (const share_map m = from.with(p).value(); std::find(next.begin(), next.end(), m) == next.end())
                next.push_back(m);
        maps += next.size();
        std::sort(next.begin(), next.end(), [&](const auto& a, const auto& b) { return score(a) > score(b); });
        if (next.size() > beam) next.resize(beam);
        kept = next;
      }
      const search_report r =
          find_best_share_map(6, score, {.share = 3, .beam = static_cast<int>(beam), .lazy = false});
      CHECK(r.map() == kept[0]);
      CHECK(r.candidates.size() == maps);
      CHECK(std::count_if(r.candidates.begin(), r.candidates.end(),
                          [](const candidate& c) { return c.outcome == verdict::accepted; }) == 3);
    }
}

TEST_CASE("a beam of guesses is that without, where no move becomes cheaper") {
  for (std::uint64_t seed = 0; seed < 10; ++seed)
    for (int beam : {2, 4}) {
      const auto probe = [&](const share_map& m) { return growing_costs(m, seed); };
      const search_report lazy = find_best_share_map(9, probe, {.share = 5, .beam = beam});
      const search_report exact = find_best_share_map(9, probe, {.share = 5, .beam = beam, .lazy = false});
      CHECK(lazy.map() == exact.map());
      CHECK(lazy.candidates.size() < exact.candidates.size());
    }
}

TEST_CASE("progress is told after every candidate against a bound that holds, and cancelling keeps whole steps") {
  for (bool lazy : {false, true}) {
    std::vector<std::size_t> bounds;
    best_first_options options{.share = 4, .lazy = lazy};
    options.progress = [&](const search_progress& p) {
      bounds.push_back(p.pairs_ranked);
      CHECK(p.tried == bounds.size());
      CHECK(p.wanted == 4);
      CHECK(p.last.outcome == verdict::outscored);
    };
    const auto probe = [](const share_map& m) { return growing_costs(m, 3); };
    const search_report all = find_best_share_map(7, probe, options);
    CHECK(bounds.front() == 21 + 15 + 10 + 6);
    CHECK(std::is_sorted(bounds.rbegin(), bounds.rend()));
    CHECK(bounds.back() >= all.candidates.size());
    CHECK((bounds.back() == bounds.front()) == !lazy);

    bounds.clear();
    options.cancelled = [&] { return bounds.size() == 22; };
    const search_report r = find_best_share_map(7, probe, options);
    CHECK(r.status == search_status::cancelled);
    CHECK(r.candidates.size() == 22);
    CHECK((lazy ? r.accepted() >= 1 : r.accepted() == 1));
    CHECK(r.accepted() < 4);
    share_map expected = share_map::identity(7);
    for (int i = 0; i < r.accepted(); ++i) expected = best_step(expected, probe);
    CHECK(r.map() == expected);
  }
}

/// A deterministic toy model whose every layer depends on its input and its owner, and which can start anywhere.
class toy_host {
 public:
  explicit toy_host(int layers) : accepted_(static_cast<std::size_t>(layers) + 1, 1.0), last_(accepted_) {
    full_ = run(share_map::identity(layers), 0);
    accept();
    evaluated = 0;
  }
  double operator()(const share_map& m) { return score(run(m, 0)); }
  double resume(const share_map& m, layer_id first) { return score(run(m, first.value)); }
  void accept() { accepted_ = last_; }

  index_t evaluated = 0;

 private:
  double score(double out) const { return 1.0 / (1.0 + std::abs(out - full_)); }
  double run(const share_map& m, int first) {
    last_ = accepted_;
    for (int l = first; l < m.layers(); ++l, ++evaluated) {
      const auto i = static_cast<std::size_t>(l);
      last_[i + 1] = 0.9 * last_[i] + std::sin(3.0 * m.owner({l}).value);
    }
    return last_.back();
  }
  std::vector<double> accepted_, last_;
  double full_ = 0;
};

TEST_CASE("resuming gives the same map and scores, bit for bit, for less work, which is counted") {
  for (int beam : {1, 3})
    for (bool lazy : {false, true})
      for (bool suffix : {false, true}) {
        toy_host resuming(12), whole(12);
        best_first_options options{.share = 5, .beam = beam, .lazy = lazy, .suffix_only = suffix};
        const search_report a = find_best_share_map(12, resuming, options);
        options.resume = false;
        const search_report b = find_best_share_map(12, whole, options);
        CHECK(a.map() == b.map());
        REQUIRE(a.candidates.size() == b.candidates.size());
        for (std::size_t i = 0; i < a.candidates.size(); ++i) {
          CHECK(a.candidates[i].score == b.candidates[i].score);
          CHECK(a.candidates[i].resumed_at == a.candidates[i].pair.reader);
          CHECK(b.candidates[i].resumed_at.value == 0);
        }
        CHECK(a.layer_evaluations == resuming.evaluated);
        CHECK(b.layer_evaluations == whole.evaluated);
        CHECK(a.layer_evaluations_without_resume == b.layer_evaluations);
        CHECK(b.layer_evaluations_without_resume == b.layer_evaluations);
        CHECK(a.layer_evaluations < b.layer_evaluations);
      }
}

}  // namespace
