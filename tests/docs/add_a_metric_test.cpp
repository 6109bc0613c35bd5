// SPDX-License-Identifier: Apache-2.0
// The code of docs/how-to/add-a-metric.md.
#include <doctest/doctest.h>

#include <cmath>

#include "kvsharer/cpu.hpp"

namespace {

// [metric]
/// The largest absolute difference of two rows, averaged over heads and positions.
struct largest_difference {
  using partial = float;
  static constexpr auto scope = kvsharer::fold_scope::row;

  KVSHARER_HD partial step(partial most, float a, float b) const { return std::fmax(most, std::fabs(a - b)); }
  KVSHARER_HD partial merge(partial p, partial q) const { return std::fmax(p, q); }
  KVSHARER_HD double finish(partial most, kvsharer::index_t) const { return static_cast<double>(most); }
};
static_assert(kvsharer::require_distance_metric<largest_difference>());
// [/metric]

/// Two layers, one head, two tokens of two channels, in one array: [keys|values][layer][token][channel].
struct tiny_cache {
  static constexpr auto space = kvsharer::memory_space::host;
  float numbers[16] = {0, 0, 1, 1, /* layer 1 */ 3, -4, 1, 2, /* values */ 5, 5, 5, 5, /* layer 1 */ 5, 5, 5, 5};
  kvsharer::cache_shape shape() const { return {2, 1, 2, 2}; }
  kvsharer::index_t length() const { return 2; }
  auto keys(kvsharer::layer_id l) const { return plane(l.value); }
  auto values(kvsharer::layer_id l) const { return plane(2 + l.value); }
  kvsharer::layer_view<float, kvsharer::layout::strided_index> plane(int i) const {
    return {numbers + i * 4, {.head = 4, .token = 2}};
  }
};

}  // namespace

TEST_CASE("a metric of your own measures layers") {
  const tiny_cache average;
  // [use]
  const kvsharer::distance_matrix distances =
      kvsharer::cpu::layer_distances(kvsharer::cpu::backend{}, average, largest_difference{});
  // [/use]
  // Keys: rows (0,0)-(3,-4) and (1,1)-(1,2) differ by 4 and by 1, on average 2.5; values not at all.
  CHECK(distances({1}, {0}) == 2.5 / 2);
}
