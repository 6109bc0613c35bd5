// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "kvsharer/backend/cuda/distances/problem.cuh"
#include "kvsharer/backend/cuda/distances/tuning.hpp"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda::detail {

/// One block of a fold over all pairs of layers. It takes a run of batches of rows. A batch passes through shared
/// memory in chunks of channels, all layers together, so that every number is read once from device memory. Each thread
/// folds a tile of pairs for one row of the batch, from the first channel to the last, and keeps the totals of its
/// rows. Neighbouring threads have the same tile and different rows, so that whole warps do one kind of tile.
template <class View, class M>
class fold_agent {
  using problem = fold_problem<View, M>;
  using partial = typename M::partial;
  using value = fold_value<M>;
  using place = row_place<View>;

  static constexpr int stages = fold_tuning.stages;
  static constexpr int pieces = chunk_channels / 4;

  /// A chunk of a batch.
  struct step {
    index_t batch;
    int chunk;
  };

 public:
  __device__ fold_agent(const problem& p, const View* views)
      : p_(p),
        views_(views),
        groups_(p.range.groups()),
        tiles_(p.range.tiles()),
        chunks_((p.channels + chunk_channels - 1) / chunk_channels),
        work_(p.range.work(static_cast<int>(threadIdx.x), p.rows_at_once)),
        tile_(p.range.tile(work_.tile)),
        chunk_floats_(p.rows_at_once * row_stride(groups_)),
        shared_(reinterpret_cast<float*>(ptx::dynamic_shared())),
        places_(reinterpret_cast<place*>(shared_ + stages * chunk_floats_)) {}

  /// Folds the block's part of all batches; writes its values of all pairs to out[pair].
  __device__ void run(index_t block, index_t blocks, value* out) {
    const index_t batches = (p_.rows + p_.rows_at_once - 1) / p_.rows_at_once;
    const index_t end = batches * (block + 1) / blocks;
    step now{batches * block / blocks, 0}, ahead = now;
    const auto fetch = [&](int stage) {
      if (ahead.batch < end) {
        fetch_chunk(ahead, shared_ + stage * chunk_floats_);
        advance(ahead);
        if (ahead.chunk == 0 && ahead.batch < end) find_rows(ahead.batch);
      }
      ptx::copy_commit();  // an empty group, too, so that groups and steps count alike
    };

    partial sums[group_layers][group_layers];
    value totals[group_layers][group_layers] = {};
    if (now.batch < end) find_rows(now.batch);
#pragma unroll 1
    for (int stage = 0; stage < stages - 1; ++stage) {
      __syncthreads();
      fetch(stage);
    }
    for (int stage = 0; now.batch < end; advance(now), stage = stage + 1 < stages ? stage + 1 : 0) {
      ptx::copy_wait<stages - 2>();
      __syncthreads();
      fetch(stage == 0 ? stages - 1 : stage - 1);
      if (!work_.any) continue;  // threads without a tile only load numbers
      if (now.chunk == 0) clear(sums);
      const float* const row = shared_ + stage * chunk_floats_ + work_.row * row_stride(groups_);
      const float* const reader = row + tile_.reader * group_stride;
      const float* const owner = row + tile_.owner * group_stride;
      if (tile_.within)
        fold_within(reader, owner, channels_of(now.chunk), sums);
      else
        fold_crossing(reader, owner, channels_of(now.chunk), sums);
      if (now.chunk == chunks_ - 1 && now.batch * p_.rows_at_once + work_.row < p_.rows) add_row(sums, totals);
    }
    ptx::copy_wait<0>();
    write(totals, out);
  }

 private:
  __device__ void advance(step& s) const {
    if (++s.chunk < chunks_) return;
    s.chunk = 0;
    ++s.batch;
  }
  __device__ int channels_of(int chunk) const {
    const int left = p_.channels - chunk * chunk_channels;
    return left < chunk_channels ? left : chunk_channels;
  }
  /// [row][place of a layer]: two buffers, since one batch's rows are found while the other batch is still fetched.
  __device__ place* places(index_t batch) const {
    return places_ + batch % 2 * (p_.rows_at_once * groups_ * group_layers);
  }

  /// Notes where the rows of a batch are, for all threads to see after the next barrier.
  __device__ void find_rows(index_t batch) const {
    const int layers = groups_ * group_layers;
    place* const found = places(batch);
    for (int i = static_cast<int>(threadIdx.x); i < p_.rows_at_once * layers; i += static_cast<int>(blockDim.x)) {
      const int within = i % layers,
                layer = p_.range.group(within / group_layers) * group_layers + within % group_layers;
      const index_t row = batch * p_.rows_at_once + i / layers;
      place at = place::nowhere();
      if (row < p_.rows && layer < p_.layers) {
        const index_t head = row / p_.tokens, token = row - head * p_.tokens;
        at = place::find(views_[layer], head, token);
        if (!at.exists()) report(p_.status, refusal::page_out_of_range, layer, 0, token);
      }
      found[i] = at;
    }
  }

  /// Starts the copy of a chunk of all layers to shared memory, [row][group][group_layers][chunk_channels]. A thread
  /// always has the same channels, since blocks are whole warps.
  __device__ void fetch_chunk(const step& s, float* to) const {
    const int channel = static_cast<int>(threadIdx.x) % pieces * 4, left = channels_of(s.chunk) - channel;
    if (left <= 0) return;
    const int count = left < 4 ? left : 4, first = s.chunk * chunk_channels + channel;
    const int pace = static_cast<int>(blockDim.x) / pieces, layers = p_.rows_at_once * groups_ * group_layers;
    const place* const found = places(s.batch);
    const int of_row = groups_ * group_layers;
    int layer = static_cast<int>(threadIdx.x) / pieces, within = layer;
    to += channel;
    for (; layer < layers; layer += pace, within += pace) {
      for (; within >= of_row; within -= of_row) to += row_stride(groups_);
      bring(found[layer], first, count,
            to + within / group_layers * group_stride + within % group_layers * chunk_channels);
    }
  }

  __device__ void clear(partial (&sums)[group_layers][group_layers]) const {
#pragma unroll
    for (int i = 0; i < group_layers; ++i)
#pragma unroll
      for (int j = 0; j < group_layers; ++j) sums[i][j] = partial{};
  }

  /// Folds four channels of a pair.
  __device__ partial fold_four(partial sum, const float4& x, const float4& y) const {
    sum = p_.metric.step(sum, x.x, y.x);
    sum = p_.metric.step(sum, x.y, y.y);
    sum = p_.metric.step(sum, x.z, y.z);
    return p_.metric.step(sum, x.w, y.w);
  }
  __device__ static float4 at(const float* group, int layer, int channel) {
    return *reinterpret_cast<const float4*>(group + layer * chunk_channels + channel);
  }

  /// sums[i][j]: layer i of `a` reads layer j of `b`.
  __device__ void fold_crossing(const float* a, const float* b, int channels,
                                partial (&sums)[group_layers][group_layers]) const {
    int c = 0;
#pragma unroll(sizeof(partial) > 4 ? 1 : 8)
    for (; c + 4 <= channels; c += 4) {
      float4 x[group_layers];
#pragma unroll
      for (int i = 0; i < group_layers; ++i) x[i] = at(a, i, c);
#pragma unroll
      for (int j = 0; j < group_layers; ++j) {
        const float4 y = at(b, j, c);
#pragma unroll
        for (int i = 0; i < group_layers; ++i) sums[i][j] = fold_four(sums[i][j], x[i], y);
      }
    }
    for (; c < channels; ++c) {
#pragma unroll
      for (int i = 0; i < group_layers; ++i)
#pragma unroll
        for (int j = 0; j < group_layers; ++j)
          sums[i][j] = p_.metric.step(sums[i][j], a[i * chunk_channels + c], b[j * chunk_channels + c]);
    }
  }

  /// sums[i][j], i > j: layer i of `a` reads layer j of `a`; sums[j][i]: layer i of `b` reads layer j of `b`.
  __device__ void fold_within(const float* a, const float* b, int channels,
                              partial (&sums)[group_layers][group_layers]) const {
    int c = 0;
#pragma unroll(sizeof(partial) > 4 ? 1 : 8)
    for (; c + 4 <= channels; c += 4) {
      float4 x[group_layers];
#pragma unroll
      for (int i = 0; i < group_layers; ++i) {
        x[i] = at(a, i, c);
#pragma unroll
        for (int j = 0; j < i; ++j) sums[i][j] = fold_four(sums[i][j], x[i], x[j]);
      }
#pragma unroll
      for (int i = 0; i < group_layers; ++i) {
        x[i] = at(b, i, c);
#pragma unroll
        for (int j = 0; j < i; ++j) sums[j][i] = fold_four(sums[j][i], x[i], x[j]);
      }
    }
    for (; c < channels; ++c) {
#pragma unroll
      for (int i = 0; i < group_layers; ++i)
#pragma unroll
        for (int j = 0; j < i; ++j) {
          sums[i][j] = p_.metric.step(sums[i][j], a[i * chunk_channels + c], a[j * chunk_channels + c]);
          sums[j][i] = p_.metric.step(sums[j][i], b[i * chunk_channels + c], b[j * chunk_channels + c]);
        }
    }
  }

  /// The pair of layers that sums[i][j] of the thread's tile belongs to; for unused sums, a layer with itself.
  __device__ layer_pair pair_of(int i, int j) const {
    const auto layer = [&](int group, int of_group) {
      return layer_id{p_.range.group(group) * group_layers + of_group};
    };
    if (!tile_.within) return {layer(tile_.reader, i), layer(tile_.owner, j)};
    if (i > j) return {layer(tile_.reader, i), layer(tile_.reader, j)};
    if (i < j && tile_.owner != tile_.reader) return {layer(tile_.owner, j), layer(tile_.owner, i)};
    return {layer(tile_.reader, i), layer(tile_.reader, i)};
  }

  __device__ void add_row(const partial (&sums)[group_layers][group_layers],
                          value (&totals)[group_layers][group_layers]) const {
#pragma unroll
    for (int i = 0; i < group_layers; ++i)
#pragma unroll
      for (int j = 0; j < group_layers; ++j)
        totals[i][j] = join(p_.metric, totals[i][j], row_value(p_.metric, sums[i][j], p_.channels));
  }

  /// Joins the totals of the threads with the same tile, in the order of their rows, and writes them.
  __device__ void write(const value (&totals)[group_layers][group_layers], value* out) const {
    value* const line = reinterpret_cast<value*>(shared_);
    const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int i = 0; i < group_layers; ++i)
#pragma unroll
      for (int j = 0; j < group_layers; ++j) {
        __syncthreads();
        line[thread] = totals[i][j];
        __syncthreads();
        const layer_pair pair = pair_of(i, j);
        const index_t reader = pair.reader.value, owner = pair.owner.value;
        if (!work_.any || work_.row != 0 || reader >= p_.layers || owner >= reader) continue;
        value all = totals[i][j];
#pragma unroll 1
        for (int r = 1; r < p_.rows_at_once; ++r) all = join(p_.metric, all, line[thread + r]);
        out[reader * (reader - 1) / 2 + owner] = all;
      }
  }

  const problem& p_;
  const View* views_;  // [layers]
  int groups_, tiles_, chunks_;
  group_range::thread_work work_;
  group_range::tile_places tile_;
  int chunk_floats_;
  float* shared_;  // [stage][row][group][group_stride]
  place* places_;  // [2][row][group][group_layers]
};

/// The distance of one pair in one plane, from all blocks' parts; one thread passes it to `out`. Called by one block of
/// whole warps, with shared memory for one value per thread.
template <class M>
__device__ double plane_distance(const M& metric, const fold_value<M>* parts, index_t blocks, index_t pairs,
                                 index_t rows, index_t channels) {
  using value = fold_value<M>;
  value* const line = reinterpret_cast<value*>(ptx::dynamic_shared());
  const int thread = static_cast<int>(threadIdx.x);
  value mine{};
  for (index_t block = thread; block < blocks; block += blockDim.x) mine = join(metric, mine, parts[block * pairs]);
  __syncthreads();
  line[thread] = mine;
  for (int half = static_cast<int>(blockDim.x) / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) line[thread] = join(metric, line[thread], line[thread + half]);
  }
  __syncthreads();
  if constexpr (M::scope == fold_scope::row)
    return line[0] / static_cast<double>(rows);
  else
    return metric.finish(line[0], rows * channels);
}

}  // namespace kvsharer::inline v0::cuda::detail
