// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "kvsharer/backend/cpu/attention_scratch.hpp"
#include "kvsharer/backend/cpu/cache_rows.hpp"
#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/core/attention_shape.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES {

/// The parts into which one query row's tokens are cut, so that threads can share the work of a single KV head. They
/// depend on the number of tokens and of KV heads alone: not on the number of threads, nor on what else is in a batch.
/// So the result is the same bits however the parts are distributed.
///
/// Every part has at least 512 tokens, which outweigh what a part costs, and there are at most 32 parts of all KV heads
/// together: the threads of usual machines then have work, and many heads are not cut at all. All parts but the last
/// have the same length, a multiple of the block of rows that is read at once.
class decode_parts {
 public:
  decode_parts(const attention_shape& s, index_t tokens) noexcept : tokens_(tokens), longest_(tokens) {
    const index_t wanted = std::min(tokens / 512, 32 / s.kv_heads);
    if (wanted < 2) return;
    longest_ = (tokens + wanted * block_rows - 1) / (wanted * block_rows) * block_rows;
    count_ = (tokens + longest_ - 1) / longest_;
  }

  /// At least 1.
  index_t count() const noexcept { return count_; }
  /// Tokens of the longest part.
  index_t longest() const noexcept { return longest_; }
  /// The first token of part p, counted from the first that the row sees; begin(count()) is the number of tokens.
  index_t begin(index_t p) const noexcept { return std::min(p * longest_, tokens_); }

 private:
  index_t tokens_, longest_, count_ = 1;
};

/// What a part leaves behind for each query of the group: the largest score, the sum of the exponentials below it, and
/// the values weighted by these exponentials.
struct part_state {
  float* out;      // [group][value width]
  float* largest;  // [group]
  float* sums;     // [group]

  /// Numbers of a state, in whole cache lines.
  static constexpr index_t floats(const attention_shape& s) noexcept {
    return whole_lines(s.group() * (s.value_width() + 2));
  }
  part_state(float* memory, const attention_shape& s) noexcept
      : out(memory), largest(out + s.group() * s.value_width()), sums(largest + s.group()) {}
};

/// What scores are taken relative to. Scores of a part may all be minus infinity while another part has finite ones;
/// its exponentials are then 0.
inline float shift_of(float largest) noexcept {
  return largest == -std::numeric_limits<float>::infinity() ? 0.0f : largest;
}

/// out [group][value width] from the states of all parts, in ascending order: state(p) is that of part p, and is
/// changed.
template <class State>
void merge_parts(const attention_shape& s, index_t parts, State&& state, float* out) {
  const index_t n = s.value_width();
  for (index_t g = 0; g < s.group(); ++g, out += n) {
    float highest = state(0).largest[g];
    for (index_t p = 1; p < parts; ++p) highest = std::max(highest, state(p).largest[g]);
    float sum = 0;
    for (index_t p = 0; p < parts; ++p) {
      float& factor = state(p).largest[g];
      factor = std::exp(factor - highest);
      sum += state(p).sums[g] * factor;
    }
    std::fill(out, out + n, 0.0f);
    for (index_t p = 0; p < parts; ++p) {
      const part_state part = state(p);
      const float* values = part.out + g * n;
      const float weight = part.largest[g] / sum;
      std::transform(out, out + n, values, out, [=](float x, float value) { return x + weight * value; });
    }
  }
}

}  // namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES
