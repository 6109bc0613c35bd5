// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/token_sets.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::budget {

/// Whose numbers count where several layers read one token set.
enum class readers : std::uint8_t {
  ignored,  ///< the first layer's alone: it stores something, and its numbers are known first
  largest,  ///< the largest of all layers that read it: no reader has less than it needs
  mean      ///< their mean
};

/// One number per KV head of each token set, from numbers that were measured in every layer: `of_layers`
/// [layers][kv_heads] becomes [sets][kv_heads], as budget_evidence wants it. Throws errc::bad_shape for another number
/// of numbers. O(layers x heads).
inline std::vector<double> over_readers(const share_plan& plan, std::span<const double> of_layers, index_t kv_heads,
                                        readers how) {
  if (kv_heads <= 0 || static_cast<index_t>(of_layers.size()) != plan.layers() * kv_heads)
    throw error(errc::bad_shape, std::to_string(of_layers.size()) + " numbers for " + std::to_string(plan.layers()) +
                                     " layers of " + std::to_string(kv_heads) + " KV heads; give one for each");
  const token_sets sets(plan);
  const auto heads = static_cast<std::size_t>(kv_heads);
  std::vector<double> of_sets(static_cast<std::size_t>(sets.count()) * heads, 0.0);
  std::vector<double> members(static_cast<std::size_t>(sets.count()), 0.0);
  for (layer_id l{0}; l.value < plan.layers(); ++l.value) {
    const auto set = static_cast<std::size_t>(sets.of(l));
    const bool first = members[set]++ == 0;
    for (std::size_t h = 0; h < heads; ++h) {
      const double here = of_layers[static_cast<std::size_t>(l.value) * heads + h];
      double& all = of_sets[set * heads + h];
      if (first)
        all = here;
      else if (how == readers::largest)
        all = std::max(all, here);
      else if (how == readers::mean)
        all += here;
    }
  }
  if (how == readers::mean)
    for (std::size_t i = 0; i < of_sets.size(); ++i) of_sets[i] /= members[i / heads];
  return of_sets;
}

}  // namespace kvsharer::inline v0::budget
