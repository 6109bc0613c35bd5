// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <climits>
#include <cstdint>

#include "kvsharer/backend/cuda/attention/softmax_state.cuh"
#include "kvsharer/backend/cuda/attention/tuning.hpp"
#include "kvsharer/backend/cuda/attention/warp_product.cuh"
#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda {

/// What attention writes besides its result, for policies that choose tokens. All in device memory, null where
/// unwanted.
struct attention_extras {
  float* lse = nullptr;  ///< [rows][heads]: natural logarithm of the softmax denominator; -inf for a row without tokens

  /// For chosen rows the attention mass of every key: [chosen][heads][mass_tokens], a distribution over the tokens that
  /// the row sees and 0 elsewhere. Written in the same pass over keys; needs `lse`.
  float* mass = nullptr;
  const std::int32_t* mass_row = nullptr;  ///< [rows]: where in `mass` a row's go, -1 for a row that is not chosen
  index_t mass_tokens = 0;                 ///< tokens that a row of `mass` has room for
};

namespace detail {

/// A window that holds every token, so that kernels need not ask whether there is one.
inline constexpr int all_tokens = INT_MAX;

/// The arguments of all attention kernels. Of a KV head's query group, the rows of a sequence are packed: packed row
/// p is query row p / group, head p % group of the group, so that every key and value is read once for all of them.
template <BatchView K, BatchView V>
struct attention_problem {
  using element = stored_type<K>;

  K keys;
  V values;
  list_counts lists;
  ragged_batch batch;
  const element* queries;  // [rows][heads * head_dim]
  element* out;            // the same
  int kv_heads;
  int group;
  float scale;  // of scores, to units of log2
  int window;   // tokens that a row sees; all_tokens for no window
  attention_extras extras;
  status_word* status;
  int layer;  // for status
};

/// A tile of packed rows of one KV head of one sequence.
struct row_tile {
  index_t sequence;  // in the batch
  int head;          // KV head
  index_t begin;     // first packed row
};

/// What a kernel must know of a sequence, read from device memory once.
struct sequence_rows {
  index_t place, length, rows, first_row;

  /// `length` is that of the list from which a KV head reads.
  template <class Problem>
  __device__ sequence_rows(const Problem& p, index_t b, int kv_head)
      : place(p.batch.place(b)),
        length(p.lists.of(place, kv_head)),
        rows(p.batch.rows_of(b)),
        first_row(p.batch.first_row(b)) {}

  /// Where the tokens end that a query row sees: behind itself.
  __device__ index_t visible(index_t row) const { return length - rows + row + 1; }
  /// The first token that a query row sees. Rows behind it see none before.
  __device__ index_t first_visible(index_t row, int window) const {
    const index_t before = visible(row) - window;
    return before > 0 ? before : 0;
  }
};

/// Where a packed row's numbers lie in queries, out (times head_dim) and lse.
template <class Problem>
__device__ index_t packed_offset(const Problem& p, const sequence_rows& s, int kv_head, index_t packed) {
  const index_t row = packed / p.group, head = kv_head * p.group + packed % p.group;
  return (s.first_row + row) * (static_cast<index_t>(p.kv_heads) * p.group) + head;
}

/// Copies `rows` packed rows of queries from `begin` on into a tile, zeros behind the last; by all threads of the
/// block.
template <int HeadDim, class Problem, class E>
__device__ void load_queries(const Problem& p, const sequence_rows& s, const row_tile& at, int rows, E* tile) {
  constexpr int stride = tile_stride(HeadDim, sizeof(E)), per_copy = 16 / sizeof(E), copies = HeadDim / per_copy;
  const index_t packed_rows = s.rows * p.group;
  for (int i = static_cast<int>(threadIdx.x); i < rows * copies; i += static_cast<int>(blockDim.x)) {
    const int row = i / copies, column = i % copies * per_copy;
    const bool valid = at.begin + row < packed_rows;
    const E* from = valid ? p.queries + packed_offset(p, s, at.head, at.begin + row) * HeadDim + column : p.queries;
    ptx::copy_async_16<ptx::reuse::some>(tile + row * stride + column, from, valid);
  }
}

/// How many of a sequence's first `end` tokens the views have room for; that there are more is reported.
template <class Problem>
__device__ int readable_end(const Problem& p, index_t sequence, int end) {
  const index_t of_keys = capacity_of(p.keys, end), of_values = capacity_of(p.values, end);
  const index_t capacity = of_keys < of_values ? of_keys : of_values;
  if (end <= capacity) return end;
  report(p.status, refusal::past_capacity, p.layer, sequence, capacity);
  return static_cast<int>(capacity);
}

/// Which token's row a lane asks for when 16 tokens are loaded: half of the lanes find keys, the others values.
struct lane_row {
  index_t token;
  bool of_keys;

  __device__ explicit lane_row(int first) : token(first + lane_id() % warp_tokens), of_keys(lane_id() < warp_tokens) {}
};

/// Asks for the page in which this lane's row of 16 tokens lies, for load_tokens. What it returns should be needed as
/// late as possible.
template <class K, class V>
__device__ std::int32_t find_pages(const K& keys, const V& values, const row_tile& at, int first, int end) {
  const lane_row mine(first);
  if (mine.token >= end) return 0;
  return mine.of_keys ? find_page(keys, at.head, mine.token) : find_page(values, at.head, mine.token);
}

/// Begins to copy the keys and values of 16 tokens into two tiles, zeros for those from `end` on and for rows that
/// cannot be found, which are reported. `Reuse`: do other blocks read them too? By one warp, whose lanes have found
/// their pages.
template <int HeadDim, ptx::reuse Reuse, class Problem, class K, class V, class E>
__device__ void load_tokens(const Problem& p, const K& keys, const V& values, const row_tile& at, int first, int end,
                            std::int32_t page, E* key_tile, E* value_tile) {
  constexpr int stride = tile_stride(HeadDim, sizeof(E)), per_copy = 16 / sizeof(E), copies = HeadDim / per_copy;
  const int lane = lane_id();
  const lane_row mine(first);
  const E* row = nullptr;
  if (mine.token < end) {
    row = mine.of_keys ? find_row_in(keys, page, at.head, mine.token) : find_row_in(values, page, at.head, mine.token);
    if (row == nullptr) report(p.status, refusal::page_out_of_range, p.layer, at.sequence, mine.token);
  }
  const auto address = reinterpret_cast<std::uintptr_t>(row);
#pragma unroll
  for (int n = 0; n < warp_tokens * copies / 32; ++n) {
    const int i = 32 * n + lane;
    const int at_row = i / copies, column = i % copies * per_copy;
    const auto* key = reinterpret_cast<const E*>(__shfl_sync(0xffffffffu, address, at_row));
    const auto* value = reinterpret_cast<const E*>(__shfl_sync(0xffffffffu, address, at_row + warp_tokens));
    ptx::copy_async_16<Reuse>(key_tile + at_row * stride + column, key + column, key != nullptr);
    ptx::copy_async_16<Reuse>(value_tile + at_row * stride + column, value + column, value != nullptr);
  }
}

/// What the rows of a warp's tile may see, found out once: rows g and g + 8 of the tile are a lane's, g = lane / 4.
struct row_limits {
  float scale;
  int all_see;     ///< where the tokens end that the tile's first row sees: no other row sees less far
  int window;      ///< how many tokens before its end a row sees
  int visible[2];  ///< where they end for the lane's rows; behind all tokens for rows that are nobody's
  float* mass[2];  ///< where a chosen row's scores go, else null
  bool captures;   ///< is some row of the launch chosen?
  int mass_tokens;

  template <class Problem>
  __device__ row_limits(const Problem& p, const sequence_rows& s, const row_tile& at)
      : scale(p.scale),
        all_see(static_cast<int>(s.visible(at.begin / p.group))),
        window(p.window),
        captures(p.extras.mass != nullptr),
        mass_tokens(static_cast<int>(p.extras.mass_tokens)) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const index_t packed = at.begin + lane_id() / 4 + 8 * half, row = packed / p.group;
      const bool somebody = packed < s.rows * p.group;
      visible[half] = static_cast<int>(somebody ? s.visible(row) : s.length);
      const index_t slot = captures && somebody ? p.extras.mass_row[s.first_row + row] : -1;
      const index_t heads = static_cast<index_t>(p.kv_heads) * p.group, head = at.head * p.group + packed % p.group;
      mass[half] = slot < 0 ? nullptr : p.extras.mass + (slot * heads + head) * p.extras.mass_tokens;
    }
  }
};

/// Scales a warp's scores of tokens from `first` on, hides what rows must not see, and writes those of chosen rows out.
template <int Fragments>
__device__ void scale_and_hide(const row_limits& rows, int first, float (&scores)[Fragments][4]) {
#pragma unroll
  for (int j = 0; j < Fragments; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) scores[j][i] *= rows.scale;
  // The tile's last row stands at most 15 tokens behind its first, and so begins its window.
  if (first + 8 * Fragments <= rows.all_see && rows.all_see - first <= rows.window - (warp_rows - 1) && !rows.captures)
    return;
#pragma unroll
  for (int j = 0; j < Fragments; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int token = first + 8 * j + lane_id() % 4 * 2 + i % 2;
      if (token >= rows.visible[i / 2] || token < rows.visible[i / 2] - rows.window)
        scores[j][i] = nothing_seen;
      else if (rows.mass[i / 2] != nullptr && token < rows.mass_tokens)
        rows.mass[i / 2][token] = scores[j][i];
    }
}

/// Writes one number of the result, and by the first channel's thread the row's log-sum-exp (given in units of log2).
template <int HeadDim, class Problem>
__device__ void write_result(const Problem& p, index_t offset, int channel, float x, float lse2) {
  constexpr float ln2 = 0.693147180559945309f;
  p.out[offset * HeadDim + channel] = ptx::from_float<typename Problem::element>(x);
  if (channel == 0 && p.extras.lse != nullptr) p.extras.lse[offset] = lse2 * ln2;
}

}  // namespace detail
}  // namespace kvsharer::inline v0::cuda
