// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "kvsharer/core/types.hpp"
#include "kvsharer/runtime/token_lists.hpp"

namespace kvsharer::inline v0 {

/// The options of a cache, besides its shape.
struct shared_cache_options {
  index_t max_sequences = 1;  ///< sequences that may live at once
  index_t pages = 0;          ///< in the pool; 0: enough for every sequence at capacity
  std::string tag = {};       ///< model fingerprint and RoPE identity; streams saved under another tag are refused
  bool positions = false;     ///< keep every token's position, so that `keep` may take tokens out of the middle
  list_scope lists =
      list_scope::cache;  ///< what has a list of its own: nothing, every token set, or every head of a set
};

}  // namespace kvsharer::inline v0
