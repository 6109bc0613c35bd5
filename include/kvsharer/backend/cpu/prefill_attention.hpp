// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>

#include "kvsharer/backend/cpu/attention_scratch.hpp"
#include "kvsharer/backend/cpu/cache_rows.hpp"
#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/backend/cpu/softmax.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/attention_shape.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES {

using row_major = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using lines = Eigen::Map<row_major, Eigen::Aligned64, Eigen::OuterStride<>>;

/// The numbers of query rows and tokens in one step, so that its scores, keys and values fit in the second-level cache.
inline constexpr index_t query_block = 64;
inline constexpr index_t token_block = 128;

/// Numbers from row to row of queries and of results.
struct row_strides {
  index_t queries, out;
};

/// Buffers of one KV head's prefill, cut from one piece of scratch. `m` is the rows of a query block times the group.
/// Rows of queries and keys are `stride` apart, those of values and results `value_stride`.
struct prefill_buffers {
  index_t m;
  index_t stride, value_stride;
  float *queries, *keys, *values, *scores, *sums, *out, *row;

  prefill_buffers(index_t rows, index_t channels, index_t value_channels, attention_scratch& scratch)
      : m(rows), stride(whole_lines(channels)), value_stride(whole_lines(value_channels)) {
    queries = scratch.at_least((m + token_block) * (stride + value_stride) + m * token_block + whole_lines(2 * m) +
                               std::max(stride, value_stride));
    keys = queries + m * stride;
    values = keys + token_block * stride;
    scores = values + token_block * value_stride;
    out = scores + m * token_block;
    sums = out + m * value_stride;
    row = sums + whole_lines(2 * m);
  }
  float* maxima() const noexcept { return sums + m; }
};

template <LayerView View>
void gather(const View& view, index_t head, index_t begin, index_t end, index_t n, index_t stride, float* buffer,
            float* to) {
  for_each_row(view, head, begin, end, n, buffer,
               [&](index_t token, const float* row) { std::copy(row, row + n, to + (token - begin) * stride); });
}

/// Turns one row's scores of a token block into weights (only the first `seen` count), and rescales its running sum and
/// output to the new maximum.
inline void weigh(float* scores, index_t seen, index_t tokens, float& maximum, float& sum, float* out, index_t n) {
  if (seen > 0) {
    const float highest = std::max(maximum, largest(scores, seen));
    const float kept = std::exp(maximum - highest);  // 0 in the first block
    if (kept != 1.0f) std::transform(out, out + n, out, [=](float x) { return x * kept; });
    sum = sum * kept + exponentials(scores, seen, highest);
    maximum = highest;
  }
  std::fill(scores + seen, scores + tokens, 0.0f);
}

/// `rows` query rows of one KV head's group, the first at token `first`; each sees the tokens up to its own. Rows of
/// queries hold [group][head_dim], those of out [group][value width]. Softmax is computed incrementally over token
/// blocks, so scratch does not grow with the length.
template <LayerView K, LayerView V>
void prefill_head(const attention_shape& s, const K& keys, const V& values, index_t head, index_t first, index_t rows,
                  const float* queries, float* out, const row_strides& stride, attention_scratch& scratch) {
  const index_t group = s.group(), n = s.head_dim, of_values = s.value_width();
  const float scale = s.score_scale();
  for (index_t from = 0; from < rows; from += query_block) {
    const index_t rows_here = std::min(query_block, rows - from), m = rows_here * group;
    const prefill_buffers b(m, n, of_values, scratch);
    for (index_t r = 0; r < m; ++r) {
      const float* query = queries + (from + r / group) * stride.queries + r % group * n;
      std::transform(query, query + n, b.queries + r * b.stride, [=](float q) { return q * scale; });
    }
    std::fill(b.out, b.out + m * b.value_stride, 0.0f);
    std::fill(b.sums, b.sums + m, 0.0f);
    std::fill(b.maxima(), b.maxima() + m, -std::numeric_limits<float>::infinity());

    const index_t end = first + from + rows_here;
    for (index_t token = 0; token < end; token += token_block) {
      const index_t tokens = std::min(token_block, end - token);
      gather(keys, head, token, token + tokens, n, b.stride, b.row, b.keys);
      gather(values, head, token, token + tokens, of_values, b.value_stride, b.row, b.values);
      const Eigen::OuterStride<> by_row(b.stride), by_value(b.value_stride), by_block(token_block);
      lines(b.scores, m, tokens, by_block).noalias() =
          lines(b.queries, m, n, by_row) * lines(b.keys, tokens, n, by_row).transpose();
      for (index_t r = 0; r < m; ++r) {
        const index_t seen = std::clamp<index_t>(first + from + r / group - token + 1, 0, tokens);
        weigh(b.scores + r * token_block, seen, tokens, b.maxima()[r], b.sums[r], b.out + r * b.value_stride,
              of_values);
      }
      lines(b.out, m, of_values, by_value).noalias() +=
          lines(b.scores, m, tokens, by_block) * lines(b.values, tokens, of_values, by_value);
    }
    for (index_t r = 0; r < m; ++r) {
      const float* row = b.out + r * b.value_stride;
      float* to = out + (from + r / group) * stride.out + r % group * of_values;
      std::transform(row, row + of_values, to, [=](float x) { return x / b.sums[r]; });
    }
  }
}

}  // namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES
