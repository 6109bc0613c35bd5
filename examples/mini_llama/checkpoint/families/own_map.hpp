// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "checkpoint/config.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

namespace mini_llama {

/// The map that a model has of its own: the identity, but for models that were trained to share.
inline kvsharer::share_map own_map(const model_config& c) {
  return c.kv_owners.empty() ? kvsharer::share_map::identity(c.layers)
                             : kvsharer::share_map::from_owners(c.kv_owners).value();
}

/// Throws errc::bad_map where a layer that never had keys and values is to store some.
inline void require_own_readers(const model_config& c, const kvsharer::share_plan& plan) {
  for (int l = 0; l < static_cast<int>(c.kv_owners.size()) && l < plan.layers(); ++l)
    if (c.kv_owners[static_cast<std::size_t>(l)] != l && plan.owns({l}))
      throw kvsharer::error(kvsharer::errc::bad_map,
                            "layer " + std::to_string(l) +
                                " is to store keys and values, but this model was trained to have it read layer " +
                                std::to_string(c.kv_owners[static_cast<std::size_t>(l)]) +
                                "; use a map in which it reads another layer");
}

/// May `reader` read what `owner` stores? Only where both attend within the same window.
inline bool same_kind(const model_config& c, kvsharer::layer_id reader, kvsharer::layer_id owner) noexcept {
  return c.window(reader.value) == c.window(owner.value);
}

/// Throws errc::bad_map where a layer is to read keys or values of one that attends within another window.
inline void require_same_kinds(const model_config& c, const kvsharer::share_plan& plan) {
  const auto sees = [&](kvsharer::layer_id l) {
    return c.window(l.value) == 0 ? std::string("all tokens") : std::to_string(c.window(l.value)) + " tokens";
  };
  for (kvsharer::layer_id l{0}; l.value < plan.layers(); ++l.value)
    for (const kvsharer::layer_id owner : {plan.key_owner(l), plan.value_owner(l)})
      if (!same_kind(c, l, owner))
        throw kvsharer::error(kvsharer::errc::bad_map,
                              "layer " + std::to_string(l.value) + " attends to " + sees(l) + " and is to read layer " +
                                  std::to_string(owner.value) + ", which attends to " + sees(owner) +
                                  "; use a map that pairs layers of one window, as a search makes it");
}

}  // namespace mini_llama
