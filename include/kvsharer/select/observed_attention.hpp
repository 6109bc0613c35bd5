// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "kvsharer/core/types.hpp"
#include "kvsharer/select/best_tokens.hpp"
#include "kvsharer/select/kept_anyway.hpp"
#include "kvsharer/select/kept_tokens.hpp"
#include "kvsharer/select/scores.hpp"

namespace kvsharer::inline v0::select {

/// The mean attention that a token of a prompt received from the queries that saw it: H2O's sums without the advantage
/// of old tokens, in the form that kvpress calls so. Nothing is kept for being new, unless `also` says so. It knows the
/// question, if the prompt has one.
struct observed_attention {
  kept_anyway also = {};  ///< part of the budget

  /// Scores [kv_heads][tokens] from `sums` [heads][tokens] of the attention of all rows. Throws what over_group does.
  std::vector<float> scores(std::span<const float> sums, index_t heads, index_t kv_heads) const {
    return by_visible_queries(over_group(sums, heads, kv_heads, reduce::mean), kv_heads);
  }

  /// The slots that each KV head keeps: `counts` [kv_heads]. Throws what best_tokens does. `positions` [tokens] as
  /// there.
  kept_tokens kept(std::span<const float> scores, std::span<const index_t> counts,
                   std::span<const index_t> positions = no_holes) const {
    return for_each_head(scores, counts, [&](index_t, std::span<const float> of_head, index_t count) {
      return best_tokens(of_head, count, also, positions);
    });
  }
};

}  // namespace kvsharer::inline v0::select
