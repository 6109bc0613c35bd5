// SPDX-License-Identifier: Apache-2.0
#include "probe/average_distances.hpp"

#include "kvsharer/backend/cpu/distances.hpp"
#include "probe/metric_named.hpp"
#include "probe/pre_rope_average.hpp"

namespace mini_llama {

kvsharer::distance_matrix average_distances(const kvsharer::calibration_average& average,
                                            const kvsharer::rope_rule& rope, const std::string& metric,
                                            const std::string& keys) {
  return with_metric(metric, [&](auto chosen) {
    const auto distances_of = [&](const auto& averages) {
      return layer_distances(kvsharer::cpu::backend{}, averages, chosen);
    };
    if (keys == "post-rope") return distances_of(average);
    if (keys == "pre-rope") return distances_of(pre_rope_average(average, rope));
    throw usage_error("there are no \"" + keys + "\" keys; choose post-rope or pre-rope");
  });
}

}  // namespace mini_llama
