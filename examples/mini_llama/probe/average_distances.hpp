// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "checkpoint/config.hpp"
#include "kvsharer/kvsharer.hpp"

namespace mini_llama {

/// How different the layers of an average are, by names of choices.hpp, on the host. Throws usage_error for a name that
/// is none.
kvsharer::distance_matrix average_distances(const kvsharer::calibration_average& average,
                                            const kvsharer::rope_rule& rope, const std::string& metric,
                                            const std::string& keys);

}  // namespace mini_llama
