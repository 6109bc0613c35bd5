// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/strided_index.hpp"

namespace kvsharer::inline v0::layout {

/// One block per sequence, [kv_head][token][channel]: the fastest order for attention.
struct head_major {
  KVSHARER_HD constexpr index_t page_tokens(cache_shape s) const noexcept { return s.capacity; }
  KVSHARER_HD constexpr strided_index index(cache_shape s, const std::int32_t* pages) const noexcept {
    const index_t block = s.kv_heads * s.capacity * s.head_dim;
    return {.head = s.capacity * s.head_dim, .token = s.head_dim, .base = pages[0] * block};
  }
  constexpr const char* name() const noexcept { return "head-major"; }
};
static_assert(CacheLayout<head_major>);

/// One block per sequence, [token][kv_head][channel]: all heads of a token are together, as in many engines.
struct token_major {
  KVSHARER_HD constexpr index_t page_tokens(cache_shape s) const noexcept { return s.capacity; }
  KVSHARER_HD constexpr strided_index index(cache_shape s, const std::int32_t* pages) const noexcept {
    const index_t row = s.kv_heads * s.head_dim;
    return {.head = s.head_dim, .token = row, .base = pages[0] * s.capacity * row};
  }
  constexpr const char* name() const noexcept { return "token-major"; }
};
static_assert(CacheLayout<token_major>);

}  // namespace kvsharer::inline v0::layout
