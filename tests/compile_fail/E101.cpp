// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/calibration_average.hpp"

using namespace kvsharer;

struct view {
  using value_type = float;
  float at(index_t, index_t, index_t) const { return 0; }
};

struct engine_cache {
#ifndef KVSHARER_EXPECT_FAILURE
  static constexpr memory_space space = memory_space::host;
#endif
  cache_shape shape() const { return {1, 1, 1, 2}; }
  index_t length() const { return 2; }
  view keys(layer_id) const { return {}; }
  view values(layer_id) const { return {}; }
};

int main() {
  calibration_average mean;
  mean.add(engine_cache{});
}
