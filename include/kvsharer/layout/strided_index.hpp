// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::layout {

/// Rows of `head_dim` neighbouring numbers, with a constant distance from head to head and from token to token. Covers
/// [head][token][channel], [token][head][channel] and any slice of them. All distances are in elements.
struct strided_index {
  index_t head = 0;   ///< from head to head
  index_t token = 0;  ///< from token to token
  index_t base = 0;   ///< before the first number

  static constexpr bool rows_contiguous = true;

  KVSHARER_HD constexpr index_t offset(index_t h, index_t t, index_t channel) const noexcept {
    return base + h * head + t * token + channel;
  }
  KVSHARER_HD constexpr index_t token_stride() const noexcept { return token; }
  KVSHARER_HD constexpr index_t run(index_t, index_t tokens) const noexcept { return tokens; }
};
static_assert(TokenRunLayout<strided_index>);

}  // namespace kvsharer::inline v0::layout
