// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kvsharer/backend/cuda/attention/decode_agent.cuh"
#include "kvsharer/backend/cuda/attention/decode_cuts.hpp"
#include "kvsharer/backend/cuda/attention/plain_tile.cuh"
#include "kvsharer/backend/cuda/attention/prefill_agent.cuh"
#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/row_agent.cuh"
#include "kvsharer/backend/cuda/attention/tuning.hpp"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/config.hpp"

/// Each kernel passes its block number to an agent. Hidden, so that each shared object in a process keeps its own.
namespace kvsharer::inline v0::cuda::detail {

/// Grid: decode_parts::blocks.
template <class Tuning, int HeadDim, int Rows, class Problem>
KVSHARER_HIDDEN __global__ void __launch_bounds__(Tuning::value.threads(), Tuning::value.resident_blocks)
    decode_kernel(const __grid_constant__ Problem problem, const __grid_constant__ decode_parts parts) {
  ptx::let_next_begin();
  if (!problem.batch.settled) ptx::wait_for_previous();
  decode_agent<Tuning, plain_tile<typename Problem::element, HeadDim, Rows>, Problem>(problem, parts)
      .run(static_cast<int>(blockIdx.x));
}

/// Grid: decode_parts::blocks.
template <class Tuning, int HeadDim, class Problem>
KVSHARER_HIDDEN __global__ void __launch_bounds__(Tuning::value.warps * 32, Tuning::value.blocks_per_multiprocessor)
    row_decode_kernel(const __grid_constant__ Problem problem, const __grid_constant__ decode_parts parts) {
  ptx::let_next_begin();
  ptx::wait_for_previous();
  row_agent<Tuning, HeadDim, Problem>(problem, parts).run(static_cast<int>(blockIdx.x));
}

/// Grid: (most tiles of a sequence, KV heads, sequences). The last tiles see the most tokens and so begin first.
template <class Tuning, int HeadDim, class Problem>
KVSHARER_HIDDEN __global__ void __launch_bounds__(Tuning::value.warps * 32)
    prefill_kernel(const __grid_constant__ Problem problem) {
  const index_t tile = static_cast<index_t>(gridDim.x) - 1 - blockIdx.x;
  prefill_agent<Tuning, HeadDim, Problem>(problem).run(
      {blockIdx.z, static_cast<int>(blockIdx.y), tile * Tuning::value.rows()});
}

/// Grid: (heads, rows). Turns the scores that attention left for chosen rows into their attention mass.
template <int = 0>  // a template, so that every file may include it
KVSHARER_HIDDEN __global__ void __launch_bounds__(256)
    mass_kernel(ragged_batch batch, list_counts lists, attention_extras extras, int heads, int group, int window) {
  const index_t row = blockIdx.y, head = blockIdx.x, slot = extras.mass_row[row];
  if (slot < 0) return;
  index_t b = 0;
  while (b + 1 < batch.sequences && batch.first_row(b + 1) <= row) ++b;
  const index_t length = lists.of(batch.place(b), head / group);
  const index_t visible = length - batch.rows_of(b) + (row - batch.first_row(b)) + 1;
  constexpr float log2e = 1.44269504088896341f;
  const float lse2 = extras.lse[row * heads + head] * log2e;
  float* const mass = extras.mass + (slot * heads + head) * extras.mass_tokens;
  for (index_t t = threadIdx.x; t < extras.mass_tokens; t += blockDim.x)
    mass[t] = t < visible && t >= visible - window ? ptx::exp2(mass[t] - lse2) : 0.0f;
}

}  // namespace kvsharer::inline v0::cuda::detail
