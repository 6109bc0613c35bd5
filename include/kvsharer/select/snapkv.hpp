// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/select/best_tokens.hpp"
#include "kvsharer/select/kept_anyway.hpp"
#include "kvsharer/select/kept_tokens.hpp"
#include "kvsharer/select/scores.hpp"

namespace kvsharer::inline v0::select {

/// SnapKV (arXiv 2404.14469): the last queries of a prompt vote for the tokens before them, neighbours share votes, and
/// each KV head keeps the window and what has most. It runs once, after the prompt's own attention; what is decoded is
/// kept.
///
/// If the window is the end of the question, the choice knows the question: such a cache serves no other. An engine
/// that compresses a context for several questions asks with the context alone. Heads are per KV head, from the mean of
/// a group's votes before pooling; the authors' code keeps a set per query head, which stores more.
struct snapkv {
  index_t window = 32;              ///< last queries of the prompt, which vote and are kept
  index_t kernel = 7;               ///< neighbours that share votes, odd
  pooling pool = pooling::largest;  ///< how they share; `average` in the authors' code
  reduce group = reduce::mean;      ///< over the query heads of a KV head
  kept_anyway also = {};            ///< beside the window; part of the budget

  /// Scores [kv_heads][older] from `votes` [heads][older]: the attention of the window's queries to each token before
  /// the window, over a softmax of all tokens, summed over the queries (or over_rows). They are what budget_evidence
  /// wants. Throws what over_group and pooled do.
  std::vector<float> scores(std::span<const float> votes, index_t heads, index_t kv_heads) const {
    return pooled(over_group(votes, heads, kv_heads, group), kv_heads, kernel, pool);
  }

  /// The slots of a prompt of `tokens` that each KV head keeps: `counts` [kv_heads], the window included; all, if there
  /// are not more. `scores` [kv_heads][tokens - window] of the tokens before the window; none, where the prompt has no
  /// more. Throws errc::bad_argument for a count that leaves no token beside the window, errc::bad_shape for scores of
  /// another number, and what best_tokens does. `positions` [tokens] as there.
  kept_tokens kept(std::span<const float> scores, std::span<const index_t> counts, index_t tokens,
                   std::span<const index_t> positions = no_holes) const {
    const index_t voting = std::min(window, tokens), heads = static_cast<index_t>(counts.size());
    if (voting < 0 || static_cast<index_t>(scores.size()) != heads * (tokens - voting))
      throw error(errc::bad_shape, std::to_string(scores.size()) + " scores of snapkv for " + std::to_string(heads) +
                                       " KV heads of " + std::to_string(tokens) + " tokens, the last " +
                                       std::to_string(voting) + " of which are its window");
    return for_each_head(scores, counts, [&](index_t head, std::span<const float> of_head, index_t count) {
      if (count <= window && count < tokens)
        throw error(errc::bad_argument, "KV head " + std::to_string(head) + " is to keep " + std::to_string(count) +
                                            " tokens, of which the window of snapkv has " + std::to_string(window) +
                                            "; give it more, or make the window smaller");
      std::vector<float> all(of_head.begin(), of_head.end());
      all.resize(static_cast<std::size_t>(tokens), 0.0f);
      kept_anyway rule = also;
      rule.recent = std::max(rule.recent, window);
      return best_tokens(all, count, rule, positions);
    });
  }
};

}  // namespace kvsharer::inline v0::select
