// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// The heads of an attention layer. Query heads [h * heads / kv_heads, (h + 1) * heads / kv_heads) read KV head h: MHA
/// where the two counts agree, GQA in between, MQA with one KV head. A window is Mistral's (arXiv 2310.06825, section
/// 2).
struct attention_shape {
  index_t heads = 0;      ///< of queries
  index_t kv_heads = 0;   ///< divides `heads`
  index_t head_dim = 0;   ///< channels of a head
  float scale = 0;        ///< of the scores; 0 stands for 1 / sqrt(head_dim)
  index_t window = 0;     ///< newest tokens of the cache that a row sees, itself included; 0 stands for all
  index_t value_dim = 0;  ///< channels of a head's values, and so of the result; 0 stands for head_dim

  /// Channels of a head's values.
  constexpr index_t value_width() const noexcept { return value_dim != 0 ? value_dim : head_dim; }
  /// Query heads that read one KV head.
  constexpr index_t group() const noexcept { return heads / kv_heads; }
  /// The factor of the scores before the softmax.
  float score_scale() const noexcept { return scale != 0 ? scale : 1.0f / std::sqrt(static_cast<float>(head_dim)); }
  /// The first token that the row at `position` sees.
  constexpr index_t first_seen(index_t position) const noexcept {
    return window > 0 && position >= window ? position + 1 - window : 0;
  }
};

/// Throws errc::bad_shape for heads that cannot be, and for a negative window.
inline void check_shape(const attention_shape& s) {
  if (s.heads <= 0 || s.kv_heads <= 0 || s.head_dim <= 0 || s.heads % s.kv_heads != 0)
    throw error(errc::bad_shape, "attention of " + std::to_string(s.heads) + " heads over " +
                                     std::to_string(s.kv_heads) + " KV heads of " + std::to_string(s.head_dim) +
                                     " channels; heads must be a multiple of KV heads, and all of them positive");
  if (s.value_dim < 0)
    throw error(errc::bad_shape, "attention over values of " + std::to_string(s.value_dim) +
                                     " channels; give their number, or 0 for as many as keys have");
  if (s.window < 0)
    throw error(errc::bad_shape, "attention within a window of " + std::to_string(s.window) +
                                     " tokens; give the tokens that a row sees, or 0 for all");
}

}  // namespace kvsharer::inline v0
