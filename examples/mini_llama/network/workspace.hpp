// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kvsharer/backend/cpu/batch_scratch.hpp"
#include "kvsharer/core/rope.hpp"
#include "kvsharer/core/types.hpp"
#include "network/linear.hpp"
#include "network/sequence_slice.hpp"

namespace mini_llama {

/// How much work a run did, so that what sharing and short prefill skip can be counted. Callers reset it by assigning
/// {}.
struct work_counters {
  kvsharer::index_t layer_rows = 0;  ///< rows that went through a layer's attention and MLP
  kvsharer::index_t kv_rows = 0;     ///< rows of keys and rows of values that were projected, added up
  friend bool operator==(work_counters, work_counters) = default;
};

/// Buffers of a run. They grow to the largest batch seen and are then reused, so that decoding allocates nothing. Not
/// for two runs at the same time.
struct workspace {
  std::vector<float> normed;    // [rows][hidden]
  std::vector<float> queries;   // [rows][heads * head_dim], after RoPE
  std::vector<float> keys;      // [rows][kv_heads * head_dim], after RoPE
  std::vector<float> values;    // [rows][kv_heads * head_dim]
  std::vector<float> attended;  // [rows][heads * head_dim]
  std::vector<float> gate, up;  // [rows][intermediate]
  std::vector<float> residual;  // [rows][hidden], what `forward` runs on
  std::vector<float> logits;    // [rows][vocab]
  kvsharer::cpu::batch_scratch attention;
  std::vector<kvsharer::cpu::query_rows> asking;  // [slices], of the layer that runs
  std::vector<kvsharer::index_t> first_rows;      // of each slice of the layer that runs
  std::vector<sequence_slice> last;               // each slice's last row, above the last owner
  kvsharer::rope_table rope;
  linear_scratch products;
  work_counters counters;

  /// Writes first_rows.
  void place(std::span<const sequence_slice> slices) {
    first_rows.clear();
    kvsharer::index_t row = 0;
    for (const sequence_slice& s : slices) {
      first_rows.push_back(row);
      row += s.tokens;
    }
  }

  /// At least n numbers, without touching what is there.
  static float* at_least(std::vector<float>& buffer, kvsharer::index_t n) {
    if (buffer.size() < static_cast<std::size_t>(n)) buffer.resize(static_cast<std::size_t>(n));
    return buffer.data();
  }
};

}  // namespace mini_llama
