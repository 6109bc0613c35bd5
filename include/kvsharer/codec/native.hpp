// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstring>

#include "kvsharer/concepts/codecs.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::codec {

/// Rows as they are, rounded to E: the codec of a cache that compresses nothing. A row's numbers are neighbours; a
/// cache's layout may order heads and tokens.
template <CacheElement E>
struct native {
  using element = E;                     ///< what is stored
  static constexpr bool rotated = true;  ///< keys are stored as RoPE turned them

  /// In plans and error texts.
  constexpr const char* name() const noexcept { return "native"; }
  /// Bytes of a KV head's rows in a page: nothing else is stored.
  KVSHARER_HD constexpr page_columns columns(index_t channels, index_t tokens) const noexcept {
    return {.codes = channels * tokens * static_cast<index_t>(sizeof(E))};
  }
  /// Every token is exact where it lies, so there is no tail.
  KVSHARER_HD constexpr tail_rule tail() const noexcept { return {}; }

  /// Reads one number of rows in the order [slot][channel].
  KVSHARER_HD float at(const page_part<const std::byte>& part, index_t slot, index_t channel) const noexcept {
    E x;
    memcpy(&x, part.codes + (slot * part.channels + channel) * static_cast<index_t>(sizeof(E)), sizeof(E));
    return static_cast<float>(x);
  }
  /// `count` rows into the slots from `slot` on, rounded.
  KVSHARER_HD void encode(const float* rows, index_t count, const page_part<std::byte>& part,
                          index_t slot) const noexcept {
    for (index_t i = 0; i < count * part.channels; ++i) {
      const E x(rows[i]);
      memcpy(part.codes + (slot * part.channels + i) * static_cast<index_t>(sizeof(E)), &x, sizeof(E));
    }
  }
};
static_assert(KVCodec<native<float>> && KVCodec<native<float16>> && KVCodec<native<bfloat16>>);

}  // namespace kvsharer::inline v0::codec
