// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

/// Checks of the options of all searches.
namespace kvsharer::inline v0::detail {

inline void check_share_count(int layers, int share) {
  if (share < 0 || share >= layers + (layers == 0))
    throw error(errc::bad_share_count, std::to_string(share) + " of " + std::to_string(layers) +
                                           " layers cannot share: layer 0 always owns its cache, so ask for 0 to " +
                                           std::to_string(layers == 0 ? 0 : layers - 1));
}

/// After chains are followed, a legal reader may read an owner that it must not read; such candidates are not tried.
inline bool all_shareable(const share_map& map, const std::function<bool(layer_id, layer_id)>& shareable) {
  if (!shareable) return true;
  for (layer_id l{0}; l.value < map.layers(); ++l.value)
    if (!map.owns(l) && !shareable(l, map.owner(l))) return false;
  return true;
}

inline bool all_shareable(const share_plan& plan, const std::function<bool(layer_id, layer_id)>& shareable) {
  return all_shareable(plan.keys(), shareable) && all_shareable(plan.values(), shareable);
}

/// The first map of a search: that of the model, or the identity if none is given.
inline share_map starting_map(int layers, const share_map& given) {
  if (given.layers() == 0) return share_map::identity(layers);
  if (given.layers() != layers)
    throw error(errc::bad_map, "a search of " + std::to_string(layers) + " layers cannot start from a map of " +
                                   std::to_string(given.layers()) + " layers");
  return given;
}

[[noreturn]] inline void throw_missed(int found, int wanted) {
  throw error(errc::share_count_missed, "only " + std::to_string(found) + " of " + std::to_string(wanted) +
                                            " layers could share above the threshold; lower the threshold or the "
                                            "count");
}

}  // namespace kvsharer::inline v0::detail
