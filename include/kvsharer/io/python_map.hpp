// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// The map as the dictionary literal of KVSharer's Python tools, one `layer: source` entry per layer: "{0: 0, 1: 1, 2:
/// 0}". Throws errc::maps_differ if keys and values have different maps, which these tools do not support.
inline std::string python_map(const share_plan& plan) {
  const share_map& map = plan.one_map("the Python dictionary {layer: source}");
  std::string text = "{";
  for (layer_id l{0}; l.value < map.layers(); ++l.value)
    text += (l.value ? ", " : "") + std::to_string(l.value) + ": " + std::to_string(map.owner(l).value);
  return text + "}";
}

}  // namespace kvsharer::inline v0
