// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "kvsharer/kvsharer.hpp"

using namespace kvsharer;

namespace {

using owners = std::vector<int>;

owners of(const share_map& m) { return {m.owners().begin(), m.owners().end()}; }

/// A policy that ranks as it is told.
struct fixed_order {
  std::vector<layer_pair> order;
  std::vector<layer_pair> rank(const distance_matrix&, std::vector<layer_pair>) const { return order; }
};

const fixed_order trace{{{{5}, {3}}, {{3}, {1}}, {{4}, {3}}, {{5}, {0}}, {{2}, {0}}}};

/// Scores of the specification's trace 10.4, looked up by candidate map; a map not listed there is an error.
double trace_score(const share_map& m) {
  static const std::map<owners, double> scores{
      {{0, 1, 2, 3, 4, 3}, .91}, {{0, 1, 2, 1, 4, 1}, .74}, {{0, 1, 2, 1, 1, 1}, .42}, {{0, 1, 0, 1, 4, 1}, .66}};
  return scores.at(of(m));
}

}  // namespace

TEST_CASE("the specification's greedy trace, step by step") {
  std::vector<owners> asked;
  const search_report r = find_share_map(distance_matrix(6), trace,
                                         [&](const share_map& m) {
                                           asked.push_back(of(m));
                                           return trace_score(m);
                                         },
                                         {.share = 3});
  CHECK(asked == std::vector<owners>{{0, 1, 2, 3, 4, 3}, {0, 1, 2, 1, 4, 1}, {0, 1, 2, 1, 1, 1}, {0, 1, 0, 1, 4, 1}});
  CHECK(of(r.map()) == owners{0, 1, 0, 1, 4, 1});
  CHECK(r.status == search_status::complete);
  CHECK(r.score == .66);
  CHECK(r.pairs_skipped == 1);
  REQUIRE(r.candidates.size() == 4);
  CHECK(r.candidates[2].outcome == verdict::below_threshold);
  CHECK(r.candidates[2].score == .42);
  CHECK(r.candidates[3].rank == 4);
  CHECK(r.accepted() == 3);
  CHECK(r.layer_evaluations == 4 * 6);
}

TEST_CASE("a search goes on from the map that a model has already") {
  const share_map own = share_map::from_owners(owners{0, 1, 2, 3, 3, 3}).value();
  std::vector<owners> asked;
  const auto probe = [&](const share_map& m) {
    asked.push_back(of(m));
    return 0.9;
  };
  // 5 reads 3 already; where 3 then reads 1, so do its readers.
  const search_report r = find_share_map(distance_matrix(6), trace, probe, {.share = 3, .start = own});
  CHECK(asked == std::vector<owners>{{0, 1, 2, 1, 1, 1}});
  CHECK(of(r.map()) == owners{0, 1, 2, 1, 1, 1});
  CHECK(r.status == search_status::complete);
  CHECK(r.accepted() == 3);

  asked.clear();
  CHECK(find_share_map(distance_matrix(6), trace, probe, {.share = 2, .start = own}).map() == own);
  CHECK(asked.empty());
  CHECK_THROWS_AS(find_share_map(distance_matrix(6), trace, probe, {.share = 1, .start = share_map::identity(5)}),
                  error);
}

TEST_CASE("the threshold is strict") {
  const auto exactly = [](const share_map&) { return 0.5; };
  CHECK(find_share_map(distance_matrix(3), policy::dissimilar_first{}, exactly, {.share = 1}).accepted() == 0);
  const auto above = [](const share_map&) { return std::nextafter(0.5, 1.0); };
  CHECK(find_share_map(distance_matrix(3), policy::dissimilar_first{}, above, {.share = 1}).accepted() == 1);
}

TEST_CASE("NaN and infinity reject a candidate and are reported as such") {
  int calls = 0;
  const search_report r = find_share_map(distance_matrix(3), policy::dissimilar_first{},
                                         [&](const share_map&) {
                                           ++calls;
                                           return calls == 1   ? std::numeric_limits<double>::quiet_NaN()
                                                  : calls == 2 ? std::numeric_limits<double>::infinity()
                                                               : 0.9;
                                         },
                                         {.share = 1});
  REQUIRE(r.candidates.size() == 3);
  CHECK(r.candidates[0].outcome == verdict::not_finite);
  CHECK(r.candidates[1].outcome == verdict::not_finite);
  CHECK(r.candidates[2].outcome == verdict::accepted);
}

TEST_CASE("running out of pairs is a partial result, or an error where asked") {
  const auto one_only = [](const share_map& m) { return m.reader_count() == 1 ? 0.9 : 0.1; };
  const search_report r = find_share_map(distance_matrix(4), policy::dissimilar_first{}, one_only, {.share = 2});
  CHECK(r.status == search_status::ranking_exhausted);
  CHECK(r.accepted() == 1);
  try {
    (void)find_share_map(distance_matrix(4), policy::dissimilar_first{}, one_only,
                         {.share = 2, .throw_when_missed = true});
    FAIL("nothing was thrown");
  } catch (const error& e) {
    CHECK(e.code() == errc::share_count_missed);
    CHECK(std::string(e.what()).find("only 1 of 2") != std::string::npos);
  }
}

TEST_CASE("asking for nothing runs nothing; asking for too much is an error") {
  int calls = 0;
  const auto count = [&](const share_map&) { return ++calls, 1.0; };
  CHECK(find_share_map(distance_matrix(4), policy::dissimilar_first{}, count, {.share = 0}).map() ==
        share_map::identity(4));
  CHECK(find_share_map(distance_matrix(0), policy::dissimilar_first{}, count).map().layers() == 0);
  CHECK(calls == 0);
  for (int share : {-1, 4, 5})
    CHECK_THROWS_WITH_AS((void)find_share_map(distance_matrix(4), policy::dissimilar_first{}, count, {.share = share}),
                         doctest::Contains("E404"), error);
  CHECK(calls == 0);
  CHECK(find_share_map(distance_matrix(4), policy::dissimilar_first{}, count, {.share = 3}).accepted() == 3);
}

TEST_CASE("distances that are not finite are refused before anything runs") {
  distance_matrix d(3);
  d.set({{2}, {1}}, std::numeric_limits<double>::quiet_NaN());
  int calls = 0;
  CHECK_THROWS_WITH_AS(
      (void)find_share_map(d, policy::dissimilar_first{}, [&](const share_map&) { return ++calls, 1.0; }, {.share = 1}),
      doctest::Contains("layers 2 and 1"), error);
  CHECK(calls == 0);
}

TEST_CASE("a policy that names an impossible pair is told so") {
  const auto probe = [](const share_map&) { return 1.0; };
  CHECK_THROWS_WITH_AS((void)find_share_map(distance_matrix(3), fixed_order{{{{1}, {2}}}}, probe, {.share = 1}),
                       doctest::Contains("E301"), error);
}

TEST_CASE("layers that may not share never do, not even by way of a chain") {
  // 0 and 2 are of one kind, 1 and 3 of another; every pair may be proposed.
  search_options options{.share = 2};
  options.shareable = [](layer_id a, layer_id b) { return a.value % 2 == b.value % 2; };
  std::vector<owners> asked;
  const search_report r = find_share_map(
      distance_matrix(4), policy::dissimilar_first{}, [&](const share_map& m) { return asked.push_back(of(m)), 0.9; },
      options);
  CHECK(of(r.map()) == owners{0, 1, 0, 1});
  CHECK(asked == std::vector<owners>{{0, 1, 0, 3}, {0, 1, 0, 1}});
}

TEST_CASE("progress is told after every candidate, and cancelling keeps what was found") {
  std::vector<std::size_t> seen;
  search_options options{.share = 3};
  options.progress = [&](const search_progress& p) {
    seen.push_back(p.tried);
    CHECK(p.wanted == 3);
    CHECK(p.last.score == 0.9);
  };
  options.cancelled = [&] { return seen.size() == 2; };
  const search_report r = find_share_map(
      distance_matrix(6), policy::dissimilar_first{}, [](const share_map&) { return 0.9; }, options);
  CHECK(seen == std::vector<std::size_t>{1, 2});
  CHECK(r.status == search_status::cancelled);
  CHECK(r.accepted() == 2);
}

namespace {

/// A deterministic toy model: layer l turns its input x into a x + b[owner], so a map's outcome depends on every layer
/// in order. It can keep the input of each layer of the accepted run and start from there.
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
static_assert(ResumableProbe<toy_host>);

struct not_resumable {
  toy_host& host;
  double operator()(const share_map& m) { return host(m); }
};
static_assert(FidelityProbe<not_resumable> && !ResumableProbe<not_resumable>);

}  // namespace

TEST_CASE("resuming at the first changed layer gives the same map and scores, bit for bit, for less work") {
  distance_matrix d(24);
  for (layer_pair p : all_pairs(24)) d.set(p, std::cos(static_cast<double>(p.reader.value * 24 + p.owner.value)));
  int rejected = 0;
  for (int share : {1, 6, 9, 20}) {
    toy_host resuming(24), whole(24), switched_off(24);
    const search_options options{.share = share, .threshold = 0.4};
    const search_report a = find_share_map(d, policy::dissimilar_first{}, resuming, options);
    const search_report b = find_share_map(d, policy::dissimilar_first{}, not_resumable{whole}, options);
    search_options off = options;
    off.resume = false;
    const search_report c = find_share_map(d, policy::dissimilar_first{}, switched_off, off);
    for (const search_report* other : {&b, &c}) {
      CHECK(a.map() == other->map());
      REQUIRE(a.candidates.size() == other->candidates.size());
      for (std::size_t i = 0; i < a.candidates.size(); ++i) CHECK(a.candidates[i].score == other->candidates[i].score);
    }
    CHECK(a.layer_evaluations == resuming.evaluated);
    CHECK(b.layer_evaluations == whole.evaluated);
    CHECK(a.layer_evaluations_without_resume == b.layer_evaluations);
    CHECK(a.layer_evaluations < b.layer_evaluations);
    for (const candidate& tried : a.candidates) rejected += tried.outcome == verdict::below_threshold;
  }
  CHECK(rejected > 0);  // otherwise nothing showed that a rejected candidate leaves no trace
}
