// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <vector>

#include "run/generation.hpp"
#include "sweep/workplace.hpp"

namespace mini_llama {

/// How a prompt is continued under a plan, and how fast.
struct timed_continuation {
  std::vector<int> token_ids;           ///< greedy, as many as were asked for, whether or not the text had ended
  kvsharer::cache_footprint footprint;  ///< of the cache for prompt and continuation
  double prefill_tokens_per_second = 0;
  double decode_tokens_per_second = 0;
};

/// Continues the prompt up to five times, as long as that takes no more than a second, and keeps the best times: others
/// on the machine can only slow it down. When `cancelled` answers yes the figures mean nothing.
timed_continuation time_continuation(const workplace& where, const kvsharer::cache_plan& plan,
                                     const std::vector<int>& prompt, kvsharer::index_t new_tokens,
                                     const std::function<bool()>& cancelled);

}  // namespace mini_llama
