// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "kvsharer/kvsharer.hpp"

namespace mini_llama {

/// Calibration averages with the keys as they were before rotation. Rotation at one position is linear, so the mean
/// over samples can be turned back once instead of every sample. Distances of rows do not change by it, beyond
/// rounding; this is for users who want to see that, or whose metric is not invariant. Borrows the values.
class pre_rope_average {
 public:
  static constexpr auto space = kvsharer::memory_space::host;
  using view = kvsharer::layer_view<float, kvsharer::layout::strided_index>;

  pre_rope_average(const kvsharer::calibration_average& average, const kvsharer::rope_rule& rope) : average_(average) {
    using kvsharer::index_t;
    const kvsharer::cache_shape s = average.shape();
    const kvsharer::rope_table table(rope, s.head_dim, length());
    keys_.reserve(static_cast<std::size_t>(s.layers * s.kv_heads * length() * s.head_dim));
    for (kvsharer::layer_id l{0}; l.value < s.layers; ++l.value)
      for (index_t head = 0; head < s.kv_heads; ++head)
        for (index_t token = 0; token < length(); ++token) {
          for (index_t d = 0; d < s.head_dim; ++d) keys_.push_back(average.keys(l).at(head, token, d));
          table.unrotate(&keys_.back() + 1 - s.head_dim, 1, token);
        }
  }

  kvsharer::cache_shape shape() const { return average_.shape(); }
  kvsharer::index_t length() const { return average_.length(); }
  view keys(kvsharer::layer_id l) const {
    const kvsharer::cache_shape s = shape();
    const kvsharer::index_t head = length() * s.head_dim;
    return {keys_.data() + l.value * s.kv_heads * head, {.head = head, .token = s.head_dim}};
  }
  auto values(kvsharer::layer_id l) const { return average_.values(l); }

 private:
  const kvsharer::calibration_average& average_;
  std::vector<float> keys_;  // [layer][kv_head][token][channel]
};
static_assert(kvsharer::KVCache<pre_rope_average>);

}  // namespace mini_llama
