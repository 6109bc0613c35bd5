// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/share_plan.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "kvsharer/runtime/footprint.hpp"

using namespace kvsharer;

namespace {

share_map map_of(const std::vector<int>& owners) { return share_map::from_owners(owners).value(); }

/// Layer 1 stores keys alone, 2 values alone, 3 neither.
const share_plan apart(map_of({0, 1, 0, 1, 4}), map_of({0, 0, 2, 2, 4}));

}  // namespace

TEST_CASE("a plan of two maps, counted by hand") {
  CHECK_FALSE(apart.is_one_map());
  CHECK(apart.planes() == 6);
  CHECK(apart.shared_planes() == 4);
  CHECK(apart.key_owner({3}) == layer_id{1});
  CHECK(apart.value_owner({3}) == layer_id{2});
  for (const int l : {0, 1, 4}) CHECK(apart.owns_keys({l}));
  for (const int l : {0, 2, 4}) CHECK(apart.owns_values({l}));
  for (const int l : {0, 1, 2, 4}) CHECK(apart.owns({l}));
  CHECK_FALSE(apart.owns({3}));
  CHECK(apart.last_owner() == layer_id{4});
  CHECK(share_plan(map_of({0, 0, 0}), map_of({0, 1, 0})).last_owner() == layer_id{1});
  CHECK(first_difference(apart, share_map::identity(5)) == layer_id{1});
  CHECK(first_difference(apart, share_plan(apart.keys(), map_of({0, 0, 2, 3, 4}))) == layer_id{3});
  CHECK(first_difference(apart, apart) == layer_id{5});
}

TEST_CASE("its bytes: six planes of ten, of 2 heads and 8 channels of 2 bytes, for 3 tokens") {
  const cache_shape shape{5, 2, 8, 16};
  CHECK(kv_bytes(apart, shape, 2, 3) == 6 * 2 * 8 * 2 * 3);
  CHECK(kv_bytes(share_map::identity(5), shape, 2, 3) == 10 * 2 * 8 * 2 * 3);
  CHECK(kv_bytes(share_map::identity(5), shape, 2, 3) == kv_bytes(5, shape, 2, 3));
}

TEST_CASE("one more reader of keys, of values or of both") {
  const share_plan full = share_map::identity(4);
  const share_plan keys = full.with({{3}, {1}}, kv_part::keys).value();
  CHECK(keys == share_plan(map_of({0, 1, 2, 1}), map_of({0, 1, 2, 3})));
  CHECK(full.with({{3}, {1}}, kv_part::values).value() == share_plan(keys.values(), keys.keys()));
  CHECK(keys.shared_planes() == 1);
  const share_plan both = keys.with({{2}, {0}}, kv_part::both).value();
  CHECK(both == share_plan(map_of({0, 1, 0, 1}), map_of({0, 1, 0, 3})));
  for (const kv_part part : {kv_part::both, kv_part::keys, kv_part::values}) CHECK_FALSE(full.with({{1}, {2}}, part));
}

TEST_CASE("where there is one map a plan is that map, and its hash; where not, what knows of one refuses") {
  const share_map map = map_of({0, 1, 0});
  const share_plan together = map;
  CHECK(together.is_one_map());
  CHECK(together.one_map("this") == map);
  CHECK(together.hash() == map.hash());
  CHECK(apart.hash() != share_plan(apart.values(), apart.keys()).hash());
  CHECK(apart.hash() != apart.keys().hash());
  CHECK_THROWS_WITH_AS(apart.one_map("this engine"),
                       "kvsharer E304: this engine takes one map for keys and values, and those of this plan differ "
                       "from layer 1 on",
                       error);
  CHECK_THROWS_WITH_AS(share_plan(map, share_map::identity(2)),
                       "kvsharer E301: the map of keys has 3 layers, that of values 2", error);
}
