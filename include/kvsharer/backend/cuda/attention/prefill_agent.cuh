// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/softmax_state.cuh"
#include "kvsharer/backend/cuda/attention/tuning.hpp"
#include "kvsharer/backend/cuda/attention/warp_product.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda::detail {

/// One block of prefill attention: a tile of packed rows, 16 per warp, over the tokens from the first that one of these
/// rows sees. All warps share the tiles of keys and values; the next tile is in flight while one is worked on.
template <class Tuning, int HeadDim, class Problem>
class prefill_agent {
  using element = typename Problem::element;
  using product = warp_product<element, HeadDim>;

  static constexpr prefill_tuning tuning = Tuning::value;
  static constexpr int stride = tile_stride(HeadDim, sizeof(element));
  static constexpr int tokens = tuning.unit_tokens();
  static constexpr int tile = tokens * stride;

 public:
  __device__ explicit prefill_agent(const Problem& problem)
      : p_(problem),
        queries_(reinterpret_cast<element*>(ptx::dynamic_shared())),
        tiles_(queries_ + tuning.rows() * stride) {}

  /// Padding rows past the sequence's last row are skipped; all rows of a block may be such.
  __device__ void run(const row_tile& block) {
    const sequence_rows s(p_, block.sequence, block.head);
    const index_t packed_rows = s.rows * p_.group;
    if (block.begin >= packed_rows) return;
    const index_t last = block.begin + tuning.rows() < packed_rows ? block.begin + tuning.rows() : packed_rows;
    const int visible = s.length > 0 ? static_cast<int>(s.visible((last - 1) / p_.group)) : 0;
    const int begin = static_cast<int>(s.first_visible(block.begin / p_.group, p_.window));
    const int end = readable_end(p_, block.sequence, visible);

    const auto keys = p_.keys.sequence(s.place);
    const auto values = p_.values.sequence(s.place);
    if constexpr (RunPageView<decltype(keys)> && RunPageView<decltype(values)>)
      if (in_runs(keys, begin, end) && in_runs(values, begin, end)) {
        std::int32_t key_page = 0, value_page = 0;  // of the next tokens to copy, loaded a step ahead
        const auto find = [&](int token) {
          key_page = page_of_run(keys, block.head, token, end);
          value_page = page_of_run(values, block.head, token, end);
        };
        find(begin + first_of_warp());
        return stream(s, block, begin, end, [&](int token, element* key_tile, element* value_tile) {
          load_run<HeadDim, ptx::reuse::some>(p_, keys, block, token, end, key_page, key_tile);
          load_run<HeadDim, ptx::reuse::some>(p_, values, block, token, end, value_page, value_tile);
          find(token + tokens);
        });
      }
    stream(s, block, begin, end, [&](int token, element* key_tile, element* value_tile) {
      load_tokens<HeadDim, ptx::reuse::some>(p_, keys, values, block, token, end, key_tile, value_tile);
    });
  }

 private:
  /// Runs all rows of the block over the tokens [begin, end); load(first, key tile, value tile) starts the copy of 16.
  template <class Load>
  __device__ void stream(const sequence_rows& s, const row_tile& block, int begin, int end, Load&& load) {
    const int warp = static_cast<int>(threadIdx.x) / 32, of_warp = first_of_warp() * stride;
    const row_tile mine{block.sequence, block.head, block.begin + warp * warp_rows};
    const auto fetch = [&](int token, int stage) {
      element* const to = tiles_ + 2 * stage * tile + of_warp;
      if (token < end) load(token + first_of_warp(), to, to + tile);
      ptx::copy_commit();
    };

    load_queries<HeadDim>(p_, s, block, tuning.rows(), queries_);
    ptx::copy_commit();
    fetch(begin, 0);
    ptx::copy_wait<1>();
    __syncthreads();
    const typename product::queries queries(queries_ + warp * warp_rows * stride);
    row_limits limits = limits_of_rows(p_, s, mine);
    limits.all_see = limits.all_see < end ? limits.all_see : end;  // less where the views have no room
#pragma unroll
    for (int& visible : limits.visible) visible = visible < end ? visible : end;
    softmax_state<HeadDim> state;
    state.init();
    int stage = 0;
    for (int token = begin; token < end; token += tokens, stage ^= 1) {
      fetch(token + tokens, stage ^ 1);
      ptx::copy_wait<1>();
      __syncthreads();
      const element* const key_tile = tiles_ + 2 * stage * tile;
      float scores[tokens / 8][4];
      product::template scores<tokens>(queries, key_tile, scores);
      scale_and_hide(limits, token, scores);
      state.absorb(scores);
      product::template accumulate<tokens>(scores, key_tile + tile, state.sums);
      __syncthreads();  // the tiles may be written again
    }
    ptx::copy_wait<0>();
    state.finish();
    write(s, mine, s.rows * p_.group, state);
  }

  /// Where this warp's 16 tokens stand in a tile.
  __device__ static int first_of_warp() { return static_cast<int>(threadIdx.x) / 32 * warp_tokens; }

  __device__ void write(const sequence_rows& s, const row_tile& at, index_t packed_rows,
                        const softmax_state<HeadDim>& state) {
    const int g = lane_id() / 4, q = lane_id() % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const index_t packed = at.begin + g + 8 * half;
      if (packed >= packed_rows) continue;
      const index_t offset = packed_offset(p_, s, at.head, packed);
      const float total = state.total[half], inverse = total > 0 ? 1.0f / total : 0.0f;
      const float lse2 = total > 0 ? state.largest[half] + log2f(total) : nothing_seen;
#pragma unroll
      for (int d = 0; d < HeadDim / 8; ++d)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          write_result<HeadDim>(p_, offset, 8 * d + 2 * q + i, state.sums[d][2 * half + i] * inverse, lse2);
    }
  }

  const Problem& p_;
  element* queries_;  // [rows][stride]
  element* tiles_;    // [stage][keys, values][tokens][stride]
};

}  // namespace kvsharer::inline v0::cuda::detail
