// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::select {

/// The slots that each list of a token set keeps, ascending: [kv_heads], or one where all heads keep the same.
using kept_tokens = std::vector<std::vector<index_t>>;

/// Calls choose(head, scores of the head, count) for every KV head: `scores` [counts.size()][tokens], and `counts` the
/// tokens that each keeps. Throws errc::bad_shape for scores that are not so many rows, and what `choose` does.
template <class Choose>
kept_tokens for_each_head(std::span<const float> scores, std::span<const index_t> counts, Choose&& choose) {
  if (counts.empty() || scores.size() % counts.size() != 0)
    throw error(errc::bad_shape, std::to_string(scores.size()) + " scores for " + std::to_string(counts.size()) +
                                     " KV heads; give equally many for each");
  const std::size_t n = scores.size() / counts.size();
  kept_tokens kept;
  for (std::size_t h = 0; h < counts.size(); ++h)
    kept.push_back(choose(static_cast<index_t>(h), scores.subspan(h * n, n), counts[h]));
  return kept;
}

}  // namespace kvsharer::inline v0::select
