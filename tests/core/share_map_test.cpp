// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/share_map.hpp"

#include <doctest/doctest.h>

#include <random>
#include <vector>

using namespace kvsharer;

namespace {
std::vector<int> owners(const share_map& m) { return {m.owners().begin(), m.owners().end()}; }
}  // namespace

TEST_CASE("the identity owns everything") {
  const share_map m = share_map::identity(5);
  CHECK(owners(m) == std::vector{0, 1, 2, 3, 4});
  CHECK(m.owner_count() == 5);
  CHECK(m.reader_count() == 0);
  CHECK(m.last_owner() == layer_id{4});
  CHECK(share_map::identity(0).layers() == 0);
  CHECK_THROWS_AS(share_map::identity(-1), error);
}

TEST_CASE("a reader's readers follow it to its root, in both directions") {
  // The specification's trace 10.4 without its rejections.
  share_map m = share_map::identity(6);
  m = m.with({{5}, {3}}).value();
  CHECK(owners(m) == std::vector{0, 1, 2, 3, 4, 3});
  m = m.with({{3}, {1}}).value();
  CHECK(owners(m) == std::vector{0, 1, 2, 1, 4, 1});
  CHECK(owners(m.with({{4}, {3}}).value()) == std::vector{0, 1, 2, 1, 1, 1});
  m = m.with({{2}, {0}}).value();
  CHECK(owners(m) == std::vector{0, 1, 0, 1, 4, 1});
  CHECK(m.owner_count() == 3);
  CHECK(m.last_owner() == layer_id{4});
}

TEST_CASE("chains given from outside are flattened") {
  CHECK(owners(share_map::from_owners(std::vector{0, 0, 1, 2, 3}).value()) == std::vector{0, 0, 0, 0, 0});
}

TEST_CASE("what is not a map is refused with a reason") {
  for (const auto& bad : {std::vector{1, 1}, std::vector{0, -1}, std::vector{0, 2, 2}, std::vector{0, 1, 99}}) {
    const result<share_map> m = share_map::from_owners(bad);
    REQUIRE(!m);
    CHECK(m.failure().code() == errc::bad_map);
    CHECK(std::string(m.failure().what()).find("kvsharer E301: layer ") == 0);
    CHECK_THROWS_AS((void)m.value(), error);
  }
  const share_map m = share_map::identity(4);
  for (layer_pair p : {layer_pair{{1}, {1}}, layer_pair{{1}, {2}}, layer_pair{{4}, {0}}, layer_pair{{2}, {-1}}})
    CHECK(!m.with(p));
}

TEST_CASE("slots number the owners densely, and readers have their owner's") {
  const share_map m = share_map::from_owners(std::vector{0, 1, 0, 3, 4, 1}).value();
  const std::vector<int> expected{0, 1, 0, 2, 3, 1};
  for (int l = 0; l < 6; ++l) CHECK(m.slot({l}) == expected[static_cast<std::size_t>(l)]);
}

TEST_CASE("invariants hold for random step sequences") {
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    const int layers = 2 + static_cast<int>(random() % 30);
    share_map m = share_map::identity(layers);
    int steps = 0;
    for (int k = 0; k < layers; ++k) {
      const int reader = 1 + static_cast<int>(random() % static_cast<unsigned>(layers - 1));
      const int owner = static_cast<int>(random() % static_cast<unsigned>(reader));
      if (!m.owns({reader})) continue;
      m = m.with({{reader}, {owner}}).value();
      ++steps;
    }
    CHECK(m.owner({0}) == layer_id{0});
    for (int l = 0; l < layers; ++l) {
      CHECK(m.owner({l}) <= layer_id{l});
      CHECK(m.owner(m.owner({l})) == m.owner({l}));
      CHECK(m.owns({l}) == (m.owner({l}) == layer_id{l}));
    }
    CHECK(m.reader_count() == steps);
  }
}

TEST_CASE("the hash tells maps apart and does not change between versions") {
  // FNV-1a, 64 bit, of the bytes 00 00 00 00, computed by hand: four rounds of multiplication from the offset basis.
  std::uint64_t h = 14695981039346656037u;
  for (int i = 0; i < 4; ++i) h *= 1099511628211u;
  CHECK(share_map::identity(1).hash() == h);
  CHECK(share_map::identity(3).hash() != share_map::identity(4).hash());
  CHECK(share_map::identity(3).hash() != share_map::from_owners(std::vector{0, 1, 1}).value().hash());
}

TEST_CASE("the first difference is where a run may resume") {
  const share_map a = share_map::from_owners(std::vector{0, 1, 2, 3, 4, 3}).value();
  CHECK(first_difference(a, a.with({{3}, {1}}).value()) == layer_id{3});
  CHECK(first_difference(a, a) == layer_id{6});
}
