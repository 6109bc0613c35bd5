// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/backend/cpu/distances.hpp"
#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/calibration_average.hpp"

using namespace kvsharer;

struct distance {
  using partial = float;
  static constexpr fold_scope scope = fold_scope::row;
  float step(float sum, float a, float b) const { return sum + (a - b) * (a - b); }
#ifndef KVSHARER_EXPECT_FAILURE
  float merge(float p, float q) const { return p + q; }
#endif
  double finish(float sum, index_t) const { return sum; }
};

int main() { return cpu::layer_distances(cpu::backend{}, calibration_average{}, distance{}).layers(); }
