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
#include "kvsharer/core/divisor.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda {

/// What attention writes besides its result, for policies that choose tokens. All in device memory; null: not written.
struct attention_extras {
  float* lse = nullptr;  ///< [rows][heads]: natural logarithm of the softmax denominator; -inf for a row without tokens

  /// For chosen rows, the attention mass of every key: [chosen][heads][mass_tokens], a distribution over the tokens
  /// that the row sees, and 0 elsewhere. Written in the same pass over keys; needs `lse`.
  float* mass = nullptr;
  const std::int32_t* mass_row = nullptr;  ///< [rows]: index of the row in `mass`, -1 for a row that is not chosen
  index_t mass_tokens = 0;                 ///< room of a row of `mass`, in tokens
};

namespace detail {

/// A window that holds every token, so that kernels need no branch for "no window". Half of the largest int, so that
/// the beginning of a window, counted from any token, is an int, too.
inline constexpr int all_tokens = INT_MAX / 2;

/// The arguments of all attention kernels. The rows of a KV head's query group in a sequence are packed: packed row p
/// is query row p / group, head p % group of the group, so that every key and value is read once for all of them.
template <BatchView K, BatchView V>
struct attention_problem {
  using element = stored_type<K>;

  K keys;
  V values;
  list_counts lists;
  divisor of_sequence;  // lists per sequence: 1, or one per KV head
  ragged_batch batch;
  const element* queries;  // [rows][heads * head_dim]
  element* out;            // the same
  int kv_heads;
  int group;
  float scale;  // of scores, into units of log2
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

/// What a kernel must know about a sequence, read from device memory once. 32 bits each, since blocks keep them.
struct sequence_rows {
  int place, length, rows, first_row;

  /// `length` is the length of the list that a KV head reads.
  template <class Problem>
  __device__ sequence_rows(const Problem& p, index_t b, int kv_head)
      : place(static_cast<int>(p.batch.place(b))),
        length(static_cast<int>(p.lists.of(place, kv_head))),
        rows(static_cast<int>(p.batch.rows_of(b))),
        first_row(static_cast<int>(p.batch.first_row(b))) {}

  /// The end of the tokens that a query row sees: one past its own.
  __device__ index_t visible(index_t row) const { return length - rows + row + 1; }
  /// The first token that a query row sees. Later rows see no earlier token.
  __device__ index_t first_visible(index_t row, int window) const {
    const index_t before = visible(row) - window;
    return before > 0 ? before : 0;
  }
};

/// What a packed row is: a query row of its sequence, and a head of the group. 32 bits, whose divisions are fast.
struct unpacked_row {
  int row, head;

  template <class Problem>
  __device__ unpacked_row(const Problem& p, index_t packed)
      : row(static_cast<int>(packed) / p.group), head(static_cast<int>(packed) - row * p.group) {}
};

/// The offset of a packed row in lse, and, times head_dim, in queries and out.
template <class Problem>
__device__ index_t packed_offset(const Problem& p, const sequence_rows& s, int kv_head, index_t packed) {
  const unpacked_row u(p, packed);
  return (s.first_row + u.row) * (static_cast<index_t>(p.kv_heads) * p.group) + kv_head * p.group + u.head;
}

/// Copies `rows` packed rows of queries, from `begin` on, into a tile, with zeros for padding rows. All threads of the
/// block call this.
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

/// How many of a sequence's first `end` tokens the views have room for; reports it if that is not all.
template <class Problem>
__device__ int readable_end(const Problem& p, index_t sequence, int end) {
  const index_t of_keys = capacity_of(p.keys, end), of_values = capacity_of(p.values, end);
  const index_t capacity = of_keys < of_values ? of_keys : of_values;
  if (end <= capacity) return end;
  report(p.status, refusal::past_capacity, p.layer, sequence, capacity);
  return static_cast<int>(capacity);
}

/// Starts the copy of the keys and values of 16 tokens into two tiles, with zeros from token `end` on and for rows that
/// are not found, which are reported. `Reuse`: do other blocks read them too? One warp calls this: each lane finds the
/// row of one token, half of the lanes for keys.
template <int HeadDim, ptx::reuse Reuse, class Problem, class K, class V, class E>
__device__ void load_tokens(const Problem& p, const K& keys, const V& values, const row_tile& at, int first, int end,
                            E* key_tile, E* value_tile) {
  constexpr int stride = tile_stride(HeadDim, sizeof(E)), per_copy = 16 / sizeof(E), copies = HeadDim / per_copy;
  const int lane = lane_id();
  const int token = first + lane % warp_tokens;
  const E* row = nullptr;
  if (token < end) {
    row = lane < warp_tokens ? find_row(keys, at.head, token) : find_row(values, at.head, token);
    if (row == nullptr) report(p.status, refusal::page_out_of_range, p.layer, at.sequence, token);
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

/// Views with runs of rows and with pages, so that the rows of 16 tokens are found at once.
template <class V>
concept RunPageView = PagedRowView<V> && TokenRunView<V>;

/// From `begin` on, are the rows of each 16 tokens up to `end` contiguous?
template <class V>
__device__ bool in_runs(const V& view, int begin, int end) {
  if constexpr (RunPageView<V>) {
    const index_t page_tokens = view.run(0, all_tokens);
    return view.run(begin, end - begin) == end - begin || (begin % warp_tokens == 0 && page_tokens % warp_tokens == 0);
  } else {
    return false;
  }
}

/// The page of 16 such tokens. The load has no condition, so that nothing waits for the page before it is needed; past
/// the last token it is the last token's page.
template <RunPageView V>
__device__ std::int32_t page_of_run(const V& view, int head, int first, int end) {
  const int newest = end > 0 ? end - 1 : 0;
  return *view.entry(head, first < newest ? first : newest);
}

/// load_tokens for such rows of one view, with a known page.
template <int HeadDim, ptx::reuse Reuse, class Problem, RunPageView V, class E>
__device__ void load_run(const Problem& p, const V& view, const row_tile& at, int first, int end, std::int32_t page,
                         E* tile) {
  constexpr int stride = tile_stride(HeadDim, sizeof(E)), per_copy = 16 / sizeof(E), copies = HeadDim / per_copy;
  const E* const run = view.find_in(page, at.head, first);
  if (run == nullptr && first < end) report(p.status, refusal::page_out_of_range, p.layer, at.sequence, first);
  const int tokens = run == nullptr ? 0 : end - first;
  const index_t apart = view.token_stride();
  if constexpr (32 % copies == 0) {  // all copies of a lane have one column, and their rows are equally far apart
    constexpr int rows_at_once = 32 / copies;
    const int row = lane_id() / copies, column = lane_id() % copies * per_copy;
    const E* from = run + row * apart + column;
#pragma unroll
    for (int n = 0; n < warp_tokens; n += rows_at_once, from += rows_at_once * apart)
      ptx::copy_async_16<Reuse>(tile + (n + row) * stride + column, from, n + row < tokens);
  } else {
#pragma unroll
    for (int n = 0; n < warp_tokens * copies / 32; ++n) {
      const int row = (32 * n + lane_id()) / copies, column = (32 * n + lane_id()) % copies * per_copy;
      ptx::copy_async_16<Reuse>(tile + row * stride + column, run + row * apart + column, row < tokens);
    }
  }
}

/// What the two rows of a tile of which a lane has scores may see, computed once.
struct row_limits {
  float scale;
  int all_see;      ///< end of the tokens that the tile's first row sees: other rows see at least as far
  int window;       ///< how many tokens before its end a row sees
  int visible[2];   ///< end of the tokens that the rows see; the end of the list for padding rows
  int mass_row[2];  ///< where in `mass` a chosen row's scores go, else -1
  float* mass;
  bool captures;  ///< is some row of the launch chosen?
  int mass_tokens;

  template <class Problem>
  __device__ row_limits(const Problem& p, const sequence_rows& s, const row_tile& at, int one, int other)
      : scale(p.scale),
        all_see(static_cast<int>(s.visible(unpacked_row(p, at.begin).row))),
        window(p.window),
        mass(p.extras.mass),
        captures(p.extras.mass != nullptr),
        mass_tokens(static_cast<int>(p.extras.mass_tokens)) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const index_t packed = at.begin + (half == 0 ? one : other);
      const unpacked_row u(p, packed);
      const bool somebody = packed < s.rows * p.group;
      visible[half] = static_cast<int>(somebody ? s.visible(u.row) : s.length);
      const int slot = captures && somebody ? p.extras.mass_row[s.first_row + u.row] : -1;
      mass_row[half] = slot < 0 ? -1 : (slot * p.kv_heads + at.head) * p.group + u.head;
    }
  }

  /// Writes out the score of a token, in units of log2, if the lane's row is chosen.
  __device__ void capture(int half, int token, float score) const {
    if (mass_row[half] >= 0 && token < mass_tokens) mass[mass_row[half] * index_t{mass_tokens} + token] = score;
  }
};

/// The limits of a lane of warp_product, which has rows lane / 4 and lane / 4 + 8.
template <class Problem>
__device__ row_limits limits_of_rows(const Problem& p, const sequence_rows& s, const row_tile& at) {
  return row_limits(p, s, at, lane_id() / 4, lane_id() / 4 + 8);
}

/// Scales a warp's scores of tokens from `first` on, hides what a row must not see, writes out chosen rows.
template <int Fragments>
__device__ void scale_and_hide(const row_limits& rows, int first, float (&scores)[Fragments][4]) {
#pragma unroll
  for (int j = 0; j < Fragments; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) scores[j][i] *= rows.scale;
  // The tile's last row is at most 15 tokens after its first, and so is the beginning of its window.
  if (first + 8 * Fragments <= rows.all_see && rows.all_see - first <= rows.window - (warp_rows - 1) && !rows.captures)
    return;
#pragma unroll
  for (int j = 0; j < Fragments; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int token = first + 8 * j + lane_id() % 4 * 2 + i % 2;
      if (token >= rows.visible[i / 2] || token < rows.visible[i / 2] - rows.window)
        scores[j][i] = nothing_seen;
      else
        rows.capture(i / 2, token, scores[j][i]);
    }
}

/// Writes one number of the result; the first channel's thread also writes the log-sum-exp (given in units of log2).
template <int HeadDim, class Problem>
__device__ void write_result(const Problem& p, index_t offset, int channel, float x, float lse2) {
  constexpr float ln2 = 0.693147180559945309f;
  p.out[offset * HeadDim + channel] = ptx::from_float<typename Problem::element>(x);
  if (channel == 0 && p.extras.lse != nullptr) p.extras.lse[offset] = lse2 * ln2;
}

}  // namespace detail
}  // namespace kvsharer::inline v0::cuda
