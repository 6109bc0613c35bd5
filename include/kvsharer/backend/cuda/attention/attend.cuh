// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>

#include "kvsharer/backend/cuda/attention/kernels.cuh"
#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/tuning.hpp"
#include "kvsharer/backend/cuda/attention/wide_kernel.cuh"
#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/pool_view.cuh"
#include "kvsharer/core/attention_shape.hpp"
#include "kvsharer/core/divisor.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda {

/// The values of head_dim for which there are kernels.
inline constexpr int attention_head_dims[] = {64, 96, 128, 256};

/// Bytes of scratch that `attend` needs; the same for every batch, so that one allocation serves all.
inline std::size_t attention_scratch_bytes(const device_properties& device, index_t head_dim) {
  const int blocks = detail::row_tuning{}.blocks_of(device.multiprocessors);
  return backend::counter_bytes +
         static_cast<std::size_t>(detail::decode_parts::floats(blocks, static_cast<int>(head_dim))) * sizeof(float);
}

namespace detail {

/// Above this many packed rows of one sequence, prefill tiles do less work than decode, which reads the cache once per
/// 16 packed rows.
inline constexpr index_t most_decode_rows = 2 * warp_rows;

/// Scratch and counters of a launch of decode attention on so many blocks.
inline decode_parts parts_of(const backend& on, int blocks, int head_dim, int stages) {
  float* const sums = on.scratch_for(attention_scratch_bytes(on.device, head_dim));
  return {sums, sums + index_t{2} * blocks * decode_parts::part_rows * head_dim, on.counters(blocks), blocks, stages};
}

/// Decode attention that looks up every row.
template <int HeadDim, class Problem>
void attend_rows(const backend& on, const Problem& p) {
  constexpr int bytes = sizeof(typename Problem::element);
  using tuned = tuned_rows<HeadDim, bytes>;
  constexpr row_tuning tuning = tuned::value;
  const int stages = tuning.stages_on(on.device.capability, HeadDim, bytes);
  const int blocks = tuning.blocks_of(on.device.multiprocessors);
  launch("decode attention", on.stream,
         {dim3(static_cast<unsigned>(blocks)), tuning.warps * 32u,
          static_cast<std::size_t>(tuning.shared_bytes(stages, HeadDim, bytes)), order::overlaps},
         row_decode_kernel<tuned, HeadDim, Problem>, p, parts_of(on, blocks, HeadDim, stages));
}

/// Decode attention by bulk copies of runs of rows, with items of `Rows` packed rows.
template <int HeadDim, int Rows, class Problem>
void attend_runs(const backend& on, const Problem& p) {
  using tile = plain_tile<typename Problem::element, HeadDim, Rows>;
  using tuned = tuned_decode<HeadDim, tile::token_bytes>;
  const int blocks = tuned::value.blocks_of(on.device.multiprocessors);
  launch("decode attention", on.stream,
         {dim3(static_cast<unsigned>(blocks)), static_cast<unsigned>(tuned::value.threads()),
          static_cast<std::size_t>(decode_agent<tuned, tile, Problem>::shared_bytes(p)), order::overlaps},
         decode_kernel<tuned, HeadDim, Rows, Problem>, p, parts_of(on, blocks, HeadDim, 0));
}

template <class B>
inline constexpr bool is_pool = std::same_as<B, pool_batch<const stored_type<B>>>;

/// Do these views lie in runs of 8 tokens, each within one page?
template <class E>
bool lies_in_runs(const pool_batch<const E>& views, int head_dim) {
  const index_t page_tokens = views.pages.page_tokens.value();
  return views.pages.token == static_cast<std::uint32_t>(head_dim) &&
         (page_tokens % 8 == 0 || page_tokens >= views.capacity());
}

template <int HeadDim, class Problem>
void attend_decode(const backend& on, const Problem& p) {
  if constexpr (is_pool<decltype(p.keys)> && sizeof(typename Problem::element) == 2) {
    const index_t packed_rows = p.batch.max_rows * p.group;
    if (on.device.capability >= 90 && lies_in_runs(p.keys, HeadDim) && lies_in_runs(p.values, HeadDim)) {
      if (packed_rows <= 8) return attend_runs<HeadDim, 8>(on, p);
      if constexpr (HeadDim <= 128) return attend_runs<HeadDim, 16>(on, p);
    }
  }
  attend_rows<HeadDim>(on, p);
}

template <int HeadDim, class Problem>
void attend_prefill(const backend& on, const Problem& p) {
  if constexpr (has_wide_prefill<HeadDim, Problem>)
    if (wide_prefill_runs<HeadDim>(on, p)) return attend_wide<HeadDim>(on, p);
  constexpr int bytes = sizeof(typename Problem::element);
  using tuned = tuned_prefill<HeadDim, bytes>;
  constexpr prefill_tuning tuning = tuned::value;
  const index_t tiles = (p.batch.max_rows * p.group + tuning.rows() - 1) / tuning.rows();
  launch(
      "prefill attention", on.stream,
      {dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(p.kv_heads), static_cast<unsigned>(p.batch.sequences)),
       tuning.warps * 32u, static_cast<std::size_t>(tuning.shared_bytes(HeadDim, bytes))},
      prefill_kernel<tuned, HeadDim, Problem>, p);
}

inline void check_attention(const attention_shape& s, const ragged_batch& b, const attention_extras& extras) {
  check_shape(s);
  const bool mass = extras.mass != nullptr;
  if (b.lengths == nullptr || b.sequences < 0 || b.sequences > 65535 || b.rows < 0 || b.max_rows < 1 ||
      (b.row_begin == nullptr && b.rows != b.sequences))
    throw error(errc::bad_argument, "a batch of " + std::to_string(b.rows) + " rows in " + std::to_string(b.sequences) +
                                        " sequences, at most " + std::to_string(b.max_rows) +
                                        " each, cannot be: it needs lengths, and row_begin where a sequence has other "
                                        "than one row");
  if (mass && (extras.lse == nullptr || extras.mass_row == nullptr || b.rows > 65535))
    throw error(errc::bad_argument, "attention mass needs `lse` and `mass_row`, and at most 65535 rows at once");
}

inline int window_of(const attention_shape& s) {
  return s.window > 0 && s.window < all_tokens ? static_cast<int>(s.window) : all_tokens;
}

/// Throws errc::bad_shape for a pool whose rows have another width than attention was asked for; that of an engine's
/// memory is not known.
template <BatchView B>
void check_width(const B& views, const attention_shape& shape) {
  if constexpr (is_pool<B>)
    if (const index_t width = views.shape.head_dim; width != 0 && width != shape.head_dim)
      throw error(errc::bad_shape, "attention over " + std::to_string(shape.head_dim) +
                                       " channels cannot read rows of " + std::to_string(width) +
                                       "; on the device, keys and values must have the head_dim of the attention");
}

template <BatchView K, BatchView V>
auto make_problem(const backend& on, const attention_shape& shape, const K& keys, const V& values,
                  const ragged_batch& batch, const stored_type<K>* queries, stored_type<K>* out,
                  const attention_extras& extras, layer_id layer) {
  constexpr float log2e = 1.44269504088896341f;
  if (shape.value_width() != shape.head_dim)
    throw error(errc::bad_shape, "attention on the device takes values as wide as keys, not " +
                                     std::to_string(shape.value_width()) + " channels beside " +
                                     std::to_string(shape.head_dim) + "; attend on the CPU");
  check_width(keys, shape);
  check_width(values, shape);
  const list_counts lists = counts_of(keys, batch);
  if (lists != counts_of(values, batch))
    throw error(errc::bad_argument,
                "keys and values of attention must have the same lists of tokens; take both from one layer of a cache");
  return attention_problem<K, V>{keys,
                                 values,
                                 lists,
                                 divisor(lists.head_step != 0 ? shape.kv_heads : 1),
                                 batch,
                                 queries,
                                 out,
                                 static_cast<int>(shape.kv_heads),
                                 static_cast<int>(shape.group()),
                                 shape.score_scale() * log2e,
                                 window_of(shape),
                                 extras,
                                 on.status,
                                 layer.value};
}

/// Launches the kernel that suits the batch, and the one for the attention mass where it is asked for.
template <int HeadDim, class Problem>
void attend_views(const backend& on, const attention_shape& shape, const Problem& p) {
  if (p.batch.max_rows * p.group > most_decode_rows)
    attend_prefill<HeadDim>(on, p);
  else
    attend_decode<HeadDim>(on, p);
  if (p.extras.mass != nullptr)
    launch("attention mass", on.stream,
           {dim3(static_cast<unsigned>(shape.heads), static_cast<unsigned>(p.batch.rows)), 256}, mass_kernel<>, p.batch,
           p.lists, p.extras, static_cast<int>(shape.heads), p.group, p.window);
}

/// Memory that strides can describe, an engine's own included, goes through the kernels of pools.
template <class B>
concept strided = requires(const B& b) {
  as_pool(b, nullptr);
};

}  // namespace detail

/// Causal attention of a ragged batch over the views that a layer reads. The newest rows_of(b) tokens of each sequence
/// are the queries. A row sees the tokens up to its own, under a window of w the last w of them; a tile of rows reads
/// none before the first that it sees. Queries and out are [rows][heads * head_dim] in the stored type; sums are kept
/// in float. With few rows per sequence, the context is spread over the whole device and every key and value is read
/// once per KV head; with many, once per tile of rows. Views must hold rows of HeadDim numbers, and no list may have
/// 2^30 tokens or more.
///
/// One kernel serves a whole batch, chosen by `max_rows`: above 32 packed rows (max_rows * heads / kv_heads) it is that
/// of prefill, whose blocks each walk a sequence from end to end. A sequence of one row in such a batch is read by one
/// block per KV head, not by the whole device, in a mostly empty tile. If long sequences decode beside a prefill, call
/// once for the sequences of few rows and once for the others. On compute capability 9.0, prefill of 16-bit numbers
/// with HeadDim 64 or 128 and without `mass` uses products of warpgroups if the caller is compiled for sm_90a.
///
/// Stream-ordered: neither allocates nor synchronises, and may be captured; the capture stays valid while lengths and
/// block tables change and `batch.sequences` and `max_rows` do not. Rows of a sequence of length 0 become 0. Tokens
/// past the views' capacity are left out, and tokens whose page lies outside the pool count as zeros; the status word
/// reports both, with `layer`. Throws errc::bad_shape, errc::bad_argument, errc::short_scratch (see
/// attention_scratch_bytes) and errc::cuda_call. O(rows x min(window, tokens) x heads x head_dim).
template <int HeadDim, class K, class V>
requires AttendedViews<K, V>
void attend(const backend& on, const attention_shape& shape, const K& keys, const V& values, const ragged_batch& batch,
            const stored_type<K>* queries, stored_type<K>* out, const attention_extras& extras = {},
            layer_id layer = {-1}) {
  if constexpr (detail::strided<K> && detail::strided<V> && !(detail::is_pool<K> && detail::is_pool<V>)) {
    return attend<HeadDim>(on, shape, as_pool(keys, batch.lengths), as_pool(values, batch.lengths), batch, queries, out,
                           extras, layer);
  } else {
    detail::check_attention(shape, batch, extras);
    if (shape.head_dim != HeadDim)
      throw error(errc::bad_shape, "attention made for a head_dim of " + std::to_string(HeadDim) +
                                       " cannot take one of " + std::to_string(shape.head_dim));
    if (batch.sequences == 0 || batch.rows == 0) return;
    detail::attend_views<HeadDim>(on, shape,
                                  detail::make_problem(on, shape, keys, values, batch, queries, out, extras, layer));
  }
}

/// The same for a head_dim that is known at run time: one of attention_head_dims, else errc::bad_shape. Compiles the
/// kernels of all of them; engines with a fixed head_dim call the form above.
template <class K, class V>
requires AttendedViews<K, V>
void attend(const backend& on, const attention_shape& shape, const K& keys, const V& values, const ragged_batch& batch,
            const stored_type<K>* queries, stored_type<K>* out, const attention_extras& extras = {},
            layer_id layer = {-1}) {
  switch (shape.head_dim) {
    case 64:
      return attend<64>(on, shape, keys, values, batch, queries, out, extras, layer);
    case 96:
      return attend<96>(on, shape, keys, values, batch, queries, out, extras, layer);
    case 128:
      return attend<128>(on, shape, keys, values, batch, queries, out, extras, layer);
    case 256:
      return attend<256>(on, shape, keys, values, batch, queries, out, extras, layer);
    default:
      throw error(errc::bad_shape, "there are attention kernels for a head_dim of 64, 96, 128 and 256, not " +
                                       std::to_string(shape.head_dim));
  }
}

/// Both forms, for views that attention cannot read: fails to compile, with the reason.
template <int... HeadDim, class K, class V>
requires(!AttendedViews<K, V>) void attend(const backend&, const attention_shape&, const K&, const V&,
                                           const ragged_batch&, const void*, void*, const attention_extras& = {},
                                           layer_id = {-1}) {
  [[maybe_unused]] constexpr bool attended = require_attended_views<K, V>();
}

}  // namespace kvsharer::inline v0::cuda
