// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>

#include "kvsharer/core/share_plan.hpp"

namespace mini_llama {

/// How many layers' worth of cache a plan shares, for one JSON line: a whole number unless half layers make it odd.
inline nlohmann::json layers_shared(const kvsharer::share_plan& plan) {
  if (plan.shared_planes() % 2 == 0) return plan.shared_planes() / 2;
  return plan.shared_planes() / 2.0;
}

}  // namespace mini_llama
