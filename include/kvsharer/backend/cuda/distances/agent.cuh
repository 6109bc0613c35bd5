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

/// One block of a fold over all pairs of layers. It takes a run of batches of rows; a batch passes through shared
/// memory in chunks of channels, all layers together, so that every number is read once from device memory. Each thread
/// folds a tile of group_layers x group_layers pairs of one row of the batch, from the first channel to the last, and
/// keeps the totals of its rows.
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
        row_(static_cast<int>(threadIdx.x) / tiles_),
        tile_(p.range.tile(static_cast<int>(threadIdx.x) % tiles_)),
        chunk_floats_(p.rows_at_once * groups_ * group_stride),
        shared_(reinterpret_cast<float*>(ptx::dynamic_shared())),
        places_(reinterpret_cast<place*>(shared_ + stages * chunk_floats_)) {}

  /// The block's part of all batches; writes the part's values of all pairs to out[pair].
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
      if (row_ >= p_.rows_at_once) continue;
      if (now.chunk == 0) clear(sums);
      fold_chunk(shared_ + stage * chunk_floats_, channels_of(now.chunk), sums);
      if (now.chunk == chunks_ - 1 && now.batch * p_.rows_at_once + row_ < p_.rows) add_row(sums, totals);
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
  /// [row][place of a layer]: of two batches in turns, since one is found while the other is still fetched.
  __device__ place* places(index_t batch) const {
    return places_ + batch % 2 * (p_.rows_at_once * groups_ * group_layers);
  }

  /// Notes where the rows of a batch are. To be seen by all threads after the next barrier.
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

  /// Begins to bring a chunk of all layers to shared memory, [row][group][group_layers][chunk_channels]. A thread has
  /// the same channels and the same place in a group each time, since blocks are of whole warps.
  __device__ void fetch_chunk(const step& s, float* to) const {
    const int channel = static_cast<int>(threadIdx.x) % pieces * 4, left = channels_of(s.chunk) - channel;
    if (left <= 0) return;
    const int count = left < 4 ? left : 4, first = s.chunk * chunk_channels + channel;
    const int pace = static_cast<int>(blockDim.x) / pieces, layers = p_.rows_at_once * groups_ * group_layers;
    const place* const found = places(s.batch);
    int layer = static_cast<int>(threadIdx.x) / pieces;
    to += layer / group_layers * group_stride + layer % group_layers * chunk_channels + channel;
    for (; layer < layers; layer += pace, to += pace / group_layers * group_stride)
      bring(found[layer], first, count, to);
  }

  __device__ void clear(partial (&sums)[group_layers][group_layers]) const {
#pragma unroll
    for (int i = 0; i < group_layers; ++i)
#pragma unroll
      for (int j = 0; j < group_layers; ++j) sums[i][j] = partial{};
  }

  __device__ void fold_chunk(const float* chunk, int channels, partial (&sums)[group_layers][group_layers]) const {
    const float* const a = chunk + (row_ * groups_ + tile_.reader) * group_stride;
    const float* const b = chunk + (row_ * groups_ + tile_.owner) * group_stride;
    int c = 0;
#pragma unroll(sizeof(partial) > 4 ? 1 : 4)
    for (; c + 4 <= channels; c += 4) {
      float4 x[group_layers];
#pragma unroll
      for (int i = 0; i < group_layers; ++i) x[i] = *reinterpret_cast<const float4*>(a + i * chunk_channels + c);
#pragma unroll
      for (int j = 0; j < group_layers; ++j) {
        const float4 y = *reinterpret_cast<const float4*>(b + j * chunk_channels + c);
#pragma unroll
        for (int i = 0; i < group_layers; ++i) {
          partial sum = p_.metric.step(sums[i][j], x[i].x, y.x);
          sum = p_.metric.step(sum, x[i].y, y.y);
          sum = p_.metric.step(sum, x[i].z, y.z);
          sums[i][j] = p_.metric.step(sum, x[i].w, y.w);
        }
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

  __device__ void add_row(const partial (&sums)[group_layers][group_layers],
                          value (&totals)[group_layers][group_layers]) const {
#pragma unroll
    for (int i = 0; i < group_layers; ++i)
#pragma unroll
      for (int j = 0; j < group_layers; ++j)
        totals[i][j] = join(p_.metric, totals[i][j], row_value(p_.metric, sums[i][j], p_.channels));
  }

  /// Joins the totals of the threads that had the same tile, in the order of their rows, and writes them.
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
        const index_t reader = p_.range.group(tile_.reader) * group_layers + i;
        const index_t owner = p_.range.group(tile_.owner) * group_layers + j;
        if (row_ != 0 || reader >= p_.layers || owner >= reader) continue;
        value all = totals[i][j];
#pragma unroll 1
        for (int r = 1; r < p_.rows_at_once; ++r) all = join(p_.metric, all, line[r * tiles_ + thread]);
        out[reader * (reader - 1) / 2 + owner] = all;
      }
  }

  const problem& p_;
  const View* views_;  // [layers]
  int groups_, tiles_, chunks_;
  int row_;  // of the batch; threads that have none only bring numbers
  group_range::tile_places tile_;
  int chunk_floats_;
  float* shared_;  // [stage][row][group][group_stride]
  place* places_;  // [2][row][group][group_layers]
};

/// The distance of one pair in one plane from all blocks' parts, given to out by one thread. By one block of whole
/// warps whose shared memory holds a value for each thread.
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
