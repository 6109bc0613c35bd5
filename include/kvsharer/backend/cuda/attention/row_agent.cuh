// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kvsharer/backend/cuda/attention/decode_cuts.hpp"
#include "kvsharer/backend/cuda/attention/decode_line.cuh"
#include "kvsharer/backend/cuda/attention/decode_merge.cuh"
#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/softmax_state.cuh"
#include "kvsharer/backend/cuda/attention/tuning.hpp"
#include "kvsharer/backend/cuda/attention/warp_product.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda::detail {

/// One block of decode attention that looks up every row: for rows that do not lie in runs, for float, and for devices
/// without bulk copies. Its warps stream different tokens of the same item, each through its own tiles, so that no warp
/// waits for another until the item's part is done and their results are joined.
template <class Tuning, int HeadDim, class Problem>
class row_agent {
  using element = typename Problem::element;
  using product = warp_product<element, HeadDim>;
  using state = softmax_state<HeadDim>;

  static constexpr row_tuning tuning = Tuning::value;
  using line = decode_line<tuning.warps * 32>;
  static constexpr int stride = tile_stride(HeadDim, sizeof(element));
  static constexpr int tile = warp_tokens * stride;
  static_assert(tuning.joined_bytes(HeadDim) <=
                    tuning.warps * row_tuning::least_stages * tuning.step_bytes(HeadDim, sizeof(element)),
                "the warps' results take the place of their tiles when they are joined");

 public:
  __device__ row_agent(const Problem& problem, const decode_parts& parts)
      : p_(problem),
        parts_(parts),
        sums_(reinterpret_cast<int*>(ptx::dynamic_shared())),
        queries_(reinterpret_cast<element*>(sums_ + line::shared_words)),
        tiles_(queries_ + warp_rows * stride) {
    static_assert(line::shared_words * static_cast<int>(sizeof(int)) == tuning.line_bytes());
  }

  /// Works on the block's piece of the line of units, and writes zeros for sequences without a token.
  __device__ void run(int block) {
    line of_units(p_, {.tokens = tuning.unit_tokens(), .tile_rows = warp_rows, .aligned = 1}, sums_);
    of_units.prepare();
    write_empty_lists<HeadDim>(p_, of_units, block, parts_.blocks, tuning.warps * 32);
    const decode_cuts cuts(of_units.total(), parts_.blocks, of_units.even_units());
    const int begin = cuts.begin(block), end = cuts.begin(block + 1);
    if (begin >= end) return;
    auto* const joined = reinterpret_cast<std::byte*>(tiles_);
    auto* const flag = reinterpret_cast<std::uint32_t*>(joined + tuning.joined_bytes(HeadDim) - 16);
    decode_merge<tuning.warps * 32, HeadDim, Problem> results(p_, parts_, warp_rows, reinterpret_cast<float*>(joined),
                                                              flag);
    for_each_part(p_, of_units, warp_rows, of_units.find(begin), begin, end, [&](const item_part& part) {
      state mine;
      attend(part, mine);
      results.finish(part, cuts, block, mine);
    });
  }

 private:
  /// Attends to the units of an item's part, which begin at the first token that a row of the sequence sees.
  __device__ void attend(const item_part& part, state& mine) {
    __syncthreads();  // nothing reads the previous item's results, which lie over the tiles, any more
    mine.init();
    const int seen = static_cast<int>(part.s.first_visible(0, p_.window));
    const int end = min_of(seen + part.last * tuning.unit_tokens(), static_cast<int>(part.s.length));
    const int begin = seen + part.first * tuning.unit_tokens();
    stream_tokens(part.s, part.at, begin, readable_end(p_, part.at.sequence, end), mine);
  }

  /// The block loads the queries; this warp streams its tokens of [begin, end): steps of warp_tokens, every
  /// tuning.warps-th of them. The first tokens are in flight before the wait for the queries.
  __device__ void stream_tokens(const sequence_rows& s, const row_tile& at, int begin, int end, state& mine) {
    constexpr int pace = tuning.warps * warp_tokens;
    const auto keys = p_.keys.sequence(s.place);
    const auto values = p_.values.sequence(s.place);
    const int ahead = parts_.stages - 1;  // steps in flight while one is worked on
    element* const own = tiles_ + warp() * parts_.stages * 2 * tile;
    const auto fetch = [&](int token, int stage) {
      if (token < end)
        load_tokens<HeadDim, ptx::reuse::none>(p_, keys, values, at, token, end, own + 2 * stage * tile,
                                               own + (2 * stage + 1) * tile);
      ptx::copy_commit();  // an empty group, too, so that groups and steps count alike
    };
    int token = begin + warp() * warp_tokens;
    load_queries<HeadDim>(p_, s, at, warp_rows, queries_);
    ptx::copy_commit();
#pragma unroll 1
    for (int stage = 0; stage < ahead; ++stage) fetch(token + stage * pace, stage);
    const row_limits limits = limits_of_rows(p_, s, at);
    wait_but(ahead);
    __syncthreads();
    const typename product::queries queries(queries_);
    for (int stage = 0; token < end; token += pace, stage = stage < ahead ? stage + 1 : 0) {
      const int next = stage == 0 ? ahead : stage - 1;
      fetch(token + ahead * pace, next);
      wait_but(ahead);
      __syncwarp();
      float scores[warp_tokens / 8][4];
      product::template scores<warp_tokens>(queries, own + 2 * stage * tile, scores);
      scale_and_hide(limits, token, scores);
      mine.absorb(scores);
      product::template accumulate<warp_tokens>(scores, own + (2 * stage + 1) * tile, mine.sums);
      __syncwarp();  // the tiles may be written again
    }
    ptx::copy_wait<0>();
  }

  /// Waits until all but this thread's newest groups of copies, 1 or 2 of them, have landed.
  __device__ static void wait_but(int newest) {
    if (newest == 2)
      ptx::copy_wait<2>();
    else
      ptx::copy_wait<1>();
  }

  __device__ static int min_of(int a, int b) { return a < b ? a : b; }
  __device__ static int warp() { return static_cast<int>(threadIdx.x) / 32; }

  const Problem& p_;
  const decode_parts& parts_;
  int* sums_;         // of the line of units
  element* queries_;  // [warp_rows][stride]
  element* tiles_;    // [warp][stage][keys, values][warp_tokens][stride]
};

}  // namespace kvsharer::inline v0::cuda::detail
