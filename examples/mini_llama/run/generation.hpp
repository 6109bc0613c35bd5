// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "run/session.hpp"
#include "run/with_cache.hpp"
#include "text/calibration.hpp"

namespace mini_llama {

/// What to continue, and how.
struct generation_request {
  token_batch prompts;  ///< one sequence each, of any lengths, none empty
  kvsharer::index_t max_new_tokens = 64;
  float temperature = 0;  ///< 0 is greedy
  float top_p = 1;
  std::uint64_t seed = 0;
  bool stop_at_eos = true;
  bool project_readers = false;  ///< see layer_options; for debugging
  cache_choice cache = {};
  std::function<void(std::size_t sequence, int token)> on_token = {};
  std::function<bool()> cancelled = {};
};

/// What came out, and what it took.
struct generation {
  token_batch token_ids;  ///< the new tokens of each prompt
  double prefill_seconds = 0;
  double decode_seconds = 0;
  std::size_t decoded = 0;  ///< tokens of all sequences after their first, which prefill yields
  kvsharer::cache_footprint footprint;
  std::size_t kv_bytes_unshared = 0;  ///< what keys and values would take if every layer stored its own

  double decode_tokens_per_second() const noexcept {
    return decode_seconds > 0 ? static_cast<double>(decoded) / decode_seconds : 0;
  }
};

/// Tokens that a cache must hold for the longest prompt and its continuation. Throws usage_error for an empty prompt or
/// one that leaves no room in a model's `context`.
kvsharer::index_t needed_capacity(const generation_request& request, kvsharer::index_t context);

/// Continues all prompts as one ragged batch under `plan`. Throws usage_error for an empty prompt or one that leaves no
/// room in the model's context.
generation generate(const session& s, const kvsharer::cache_plan& plan, const generation_request& request);

}  // namespace mini_llama
