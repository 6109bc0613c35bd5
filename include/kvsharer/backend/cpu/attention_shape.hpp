// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <string>

#include "kvsharer/backend/cpu/aligned_vector.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu {

/// The heads of an attention layer. Query heads [h * heads / kv_heads, (h + 1) * heads / kv_heads) read KV head h: MHA
/// where the two counts agree, GQA in between, MQA with one KV head.
struct attention_shape {
  index_t heads = 0;
  index_t kv_heads = 0;
  index_t head_dim = 0;
  float scale = 0;  ///< of the scores; 0 stands for 1 / sqrt(head_dim)

  constexpr index_t group() const noexcept { return heads / kv_heads; }
  float score_scale() const noexcept { return scale != 0 ? scale : 1.0f / std::sqrt(static_cast<float>(head_dim)); }
};

/// Memory that `attend` keeps between calls: it grows to the largest call seen. One for each call that runs at the same
/// time.
struct attention_scratch {
  detail::aligned_vector<float> numbers;

  float* at_least(index_t n) {
    if (numbers.size() < static_cast<std::size_t>(n)) numbers.resize(static_cast<std::size_t>(n));
    return numbers.data();
  }
};

namespace detail {

/// Numbers in a cache line, and in the widest register: rows of scratch begin at multiples of it.
inline constexpr index_t line_floats = 16;
constexpr index_t whole_lines(index_t n) noexcept { return (n + line_floats - 1) / line_floats * line_floats; }

inline void check(const attention_shape& s, index_t first, index_t rows, index_t head_begin, index_t head_end) {
  if (s.heads <= 0 || s.kv_heads <= 0 || s.head_dim <= 0 || s.heads % s.kv_heads != 0)
    throw error(errc::bad_shape, "attention of " + std::to_string(s.heads) + " heads over " +
                                     std::to_string(s.kv_heads) + " KV heads of " + std::to_string(s.head_dim) +
                                     " channels; heads must be a multiple of KV heads, and all of them positive");
  if (first < 0 || rows < 0 || head_begin < 0 || head_end > s.kv_heads)
    throw error(errc::out_of_range, std::to_string(rows) + " rows from token " + std::to_string(first) +
                                        " on, of KV heads [" + std::to_string(head_begin) + ", " +
                                        std::to_string(head_end) + ") of " + std::to_string(s.kv_heads));
}

}  // namespace detail
}  // namespace kvsharer::inline v0::cpu
