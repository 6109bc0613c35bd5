// SPDX-License-Identifier: Apache-2.0
// What find_best_share_plan promises, on scores that are looked up.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "kvsharer/kvsharer.hpp"

using namespace kvsharer;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

/// A number in [0, 1) that depends on the plan and the seed and follows no rule.
double noise(const share_plan& p, std::uint64_t seed) {
  std::uint64_t x = p.keys().hash() ^ (p.values().hash() << 1) ^ (seed * 0x9e3779b97f4a7c15u);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1p-53;
}

struct scored {
  share_plan plan;
  double score = -inf;
};

/// The better of `best` and all that one move of these parts makes of `from`.
template <class Probe>
scored best_of(scored best, const share_plan& from, const std::vector<kv_part>& parts, Probe&& probe) {
  for (const layer_pair pair : all_pairs(from.layers()))
    for (const kv_part part : parts) {
      const bool reads = (part != kv_part::values && !from.owns_keys(pair.reader)) ||
                         (part != kv_part::keys && !from.owns_values(pair.reader));
      if (reads) continue;
      const share_plan to = from.with(pair, part).value();
      // To read a reader of one half alone is another move of whole layers.
      if (part == kv_part::both && !(from.owns_keys(pair.owner) && from.owns_values(pair.owner))) continue;
      if (const double s = probe(to); s > best.score) best = {to, s};
    }
  return best;
}

std::vector<int> both_maps(const share_plan& p) {
  std::vector<int> owners(p.keys().owners().begin(), p.keys().owners().end());
  owners.insert(owners.end(), p.values().owners().begin(), p.values().owners().end());
  return owners;
}

/// All maps of so many layers.
std::vector<share_map> all_maps(int layers) {
  std::vector<std::vector<int>> some{{}};
  for (int l = 0; l < layers; ++l) {
    std::vector<std::vector<int>> longer;
    for (const std::vector<int>& owners : some)
      for (int o = 0; o <= l; ++o) {
        if (o < l && owners[static_cast<std::size_t>(o)] != o) continue;  // chains are other spellings
        longer.push_back(owners);
        longer.back().push_back(o);
      }
    some = std::move(longer);
  }
  std::vector<share_map> maps;
  for (const std::vector<int>& owners : some) maps.push_back(share_map::from_owners(owners).value());
  return maps;
}

}  // namespace

TEST_CASE("without guesses the best plan of each level comes of one or two levels below, each plan scored once") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<std::vector<int>> asked;
    const auto look = [&](const share_plan& p) { return noise(p, seed); };
    const search_report r = find_best_share_plan(
        5, [&](const share_plan& p) { return asked.push_back(both_maps(p)), look(p); }, {.share = 2, .lazy = false});
    // First the search for one map; then plans, among which its maps stand.
    std::vector<std::optional<scored>> level(5);
    level[0] = scored{share_map::identity(5), 0};
    for (std::size_t i : {2u, 4u}) level[i] = best_of({}, level[i - 2]->plan, {kv_part::both}, look);
    for (std::size_t i = 1; i < 5; ++i) {
      scored best = level[i].value_or(scored{});
      if (i >= 2) best = best_of(best, level[i - 2]->plan, {kv_part::both}, look);
      level[i] = best_of(best, level[i - 1]->plan, {kv_part::keys, kv_part::values}, look);
    }
    CHECK(r.plan == level[4]->plan);
    CHECK(r.score == level[4]->score);
    CHECK(r.plan.shared_planes() == 4);
    CHECK(r.status == search_status::complete);
    CHECK(std::set(asked.begin(), asked.end()).size() == asked.size());
    CHECK(r.score >= find_best_share_map(5, look, {.share = 2, .lazy = false}).score);
  }
}

TEST_CASE("what a reader's second half costs is not guessed from what it costs alone") {
  // Layer 3 reads values of 0 for 1. Its keys of 1 cost 5 alone and nothing after that; any other second move costs 2.
  for (const bool swapped : {false, true}) {
    const auto probe = [&](const share_plan& p) {
      const share_map &keys = swapped ? p.values() : p.keys(), &values = swapped ? p.keys() : p.values();
      double cost = 0;
      for (layer_id l{1}; l.value < 4; ++l.value) {
        const bool cheap = l.value == 3 && values.owner(l) == layer_id{0};
        const double of_keys = keys.owns(l) ? 0 : 5, of_values = values.owns(l) ? 0 : cheap ? 1 : 2;
        if (keys.owns(l) || values.owns(l)) cost += of_keys + of_values;
        if (!keys.owns(l) && !values.owns(l)) cost += cheap && keys.owner(l) == layer_id{1} ? 1 : 4;
      }
      return -cost;
    };
    const search_report all = find_best_share_plan(4, probe, {.share = 1, .lazy = false});
    const search_report lazy = find_best_share_plan(4, probe, {.share = 1});
    CHECK(all.score == -1);
    CHECK(lazy.score == -1);
    CHECK(lazy.plan == all.plan);
    CHECK((swapped ? lazy.plan.values() : lazy.plan.keys()).owner({3}) == layer_id{1});
    CHECK((swapped ? lazy.plan.keys() : lazy.plan.values()).owner({3}) == layer_id{0});
  }
}

TEST_CASE("where a reader costs what its dearer half does and readers add up, guesses change nothing") {
  // Even layers own and odd ones read, so that nobody has to follow; whole numbers, so that sums have no rounding.
  constexpr int layers = 8;
  const auto even_owns = [](layer_id reader, layer_id owner) {
    return reader == owner || (reader.value % 2 == 1 && owner.value % 2 == 0);
  };
  std::size_t lazy_probes = 0, all_probes = 0;
  for (unsigned seed = 0; seed < 50; ++seed) {
    std::mt19937 bits(seed);
    std::vector<int> of_keys, of_values;
    for (int i = 0; i < layers * layers; ++i) {
      of_keys.push_back(1 + static_cast<int>(bits() % 1000));
      of_values.push_back(1 + static_cast<int>(bits() % 1000));
    }
    const auto cost = [](const std::vector<int>& costs, const share_map& m, layer_id l) {
      return m.owns(l) ? 0 : costs[static_cast<std::size_t>(l.value * layers + m.owner(l).value)];
    };
    const auto probe = [&](const share_plan& p) {
      int sum = 0;
      for (layer_id l{0}; l.value < layers; ++l.value)
        sum += std::max(cost(of_keys, p.keys(), l), cost(of_values, p.values(), l));
      return -1.0 * sum;
    };
    for (const int beam : {1, 3}) {
      const best_first_options lazily{.share = 3, .beam = beam, .slack = 0, .shareable = even_owns};
      best_first_options thoroughly = lazily;
      thoroughly.lazy = false;
      const search_report lazy = find_best_share_plan(layers, probe, lazily);
      const search_report all = find_best_share_plan(layers, probe, thoroughly);
      CHECK(lazy.plan == all.plan);
      CHECK(lazy.score == all.score);
      lazy_probes += lazy.candidates.size();
      all_probes += all.candidates.size();
    }
  }
  CHECK(lazy_probes < all_probes);
}

TEST_CASE("where values cost nothing and keys much, values alone are shared, at the cost of half as many layers") {
  const auto probe = [](const share_plan& p) {
    return -1.0 * p.keys().reader_count() - 1e-3 * p.values().reader_count();
  };
  const search_report r = find_best_share_plan(7, probe, {.share = 3});
  CHECK(r.plan.keys() == share_map::identity(7));
  CHECK(r.plan.values().reader_count() == 6);
  CHECK(r.accepted() == 3);
  for (const candidate& c : r.candidates)
    if (c.outcome == verdict::accepted) CHECK(c.part == kv_part::values);
}

TEST_CASE("with one half alone a search is that of one map of twice as many") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const auto of_map = [&](const share_map& m) { return noise(m, seed); };
    const share_map expected = find_best_share_map(7, of_map, {.share = 4, .lazy = false}).map();
    for (const kv_part part : {kv_part::keys, kv_part::values}) {
      const bool keys = part == kv_part::keys;
      const search_report r =
          find_best_share_plan(7, [&](const share_plan& p) { return of_map(keys ? p.keys() : p.values()); },
                               {.share = 2, .lazy = false, .halves = part});
      CHECK((keys ? r.plan.keys() : r.plan.values()) == expected);
      CHECK((keys ? r.plan.values() : r.plan.keys()) == share_map::identity(7));
      CHECK(r.pairs_ranked == 21);
      CHECK(r.candidates.size() == 21 + 15 + 10 + 6);
    }
  }
}

TEST_CASE("plans go on from the map that a model has already, and count its readers") {
  const share_map own = share_map::from_owners(std::vector{0, 1, 2, 3, 3}).value();
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto look = [&](const share_plan& p) { return noise(p, seed); };
    const search_report r = find_best_share_plan(5, look, {.share = 2, .lazy = false, .start = own});
    const scored half = best_of({}, own, {kv_part::keys, kv_part::values}, look);
    const scored best =
        best_of(best_of({}, own, {kv_part::both}, look), half.plan, {kv_part::keys, kv_part::values}, look);
    CHECK(r.plan == best.plan);
    CHECK(r.score == best.score);
    CHECK(r.accepted() == 2);
    CHECK(r.plan.key_owner({4}) != layer_id{4});
    CHECK(r.plan.value_owner({4}) != layer_id{4});
  }
  CHECK(find_best_share_plan(5, [](const share_plan&) { return 1.0; }, {.share = 1, .start = own}).plan ==
        share_plan(own));
}

TEST_CASE("more of one half than there is ends with what there is") {
  const search_report r = find_best_share_plan(4, [](const share_plan& p) { return -1.0 * p.shared_planes(); },
                                               {.share = 2, .halves = kv_part::keys});
  CHECK(r.status == search_status::ranking_exhausted);
  CHECK(r.plan.keys().reader_count() == 3);
  CHECK(r.accepted() == 1);
}

TEST_CASE("pairs that may not share do so in neither map") {
  const auto even = [](layer_id reader, layer_id owner) { return reader.value % 2 == owner.value % 2; };
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const search_report r =
        find_best_share_plan(6, [&](const share_plan& p) { return noise(p, seed); }, {.share = 2, .shareable = even});
    for (layer_id l{0}; l.value < 6; ++l.value) {
      CHECK(even(l, r.plan.key_owner(l)));
      CHECK(even(l, r.plan.value_owner(l)));
    }
  }
}

TEST_CASE("a reader's second half is tried anew once its first half is shared, however much it cost alone") {
  // Both halves of a layer cost little more than one, and are best taken from two owners.
  const double alone[] = {0, 1.3, 1.2, 1, 1.1};
  const auto probe = [&](const share_plan& p) {
    double loss = 0;
    for (layer_id l{1}; l.value < 5; ++l.value) {
      const double cost = alone[l.value];
      const bool keys = !p.owns_keys(l), values = !p.owns_values(l);
      if (keys) loss += cost + 1e-3 * p.key_owner(l).value;
      if (values) loss += cost + 1e-3 * (l.value - p.value_owner(l).value);
      if (keys && values) loss -= cost * 0.95;
    }
    return -loss;
  };
  for (const int share : {1, 2}) {
    CAPTURE(share);
    const search_report lazy = find_best_share_plan(5, probe, {.share = share});
    const search_report all = find_best_share_plan(5, probe, {.share = share, .lazy = false});
    CHECK(lazy.plan == all.plan);
    CHECK(lazy.score == all.score);
    CHECK(lazy.candidates.size() < all.candidates.size());
    // Every plan of as many planes, by its two maps.
    scored best;
    for (const share_map& keys : all_maps(5))
      for (const share_map& values : all_maps(5)) {
        const share_plan p(keys, values);
        if (p.shared_planes() != 2 * share) continue;
        if (const double s = probe(p); s > best.score) best = {p, s};
      }
    CHECK(lazy.score == best.score);
    CHECK(lazy.plan == best.plan);
    CHECK(lazy.plan.keys() != lazy.plan.values());
  }
}
