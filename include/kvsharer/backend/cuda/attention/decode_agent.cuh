// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kvsharer/backend/cuda/attention/column_state.cuh"
#include "kvsharer/backend/cuda/attention/decode_cuts.hpp"
#include "kvsharer/backend/cuda/attention/decode_line.cuh"
#include "kvsharer/backend/cuda/attention/decode_merge.cuh"
#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/tile_copier.cuh"
#include "kvsharer/backend/cuda/attention/tile_ring.cuh"
#include "kvsharer/backend/cuda/attention/tuning.hpp"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda::detail {

/// One block of decode attention over rows that lie in runs. Its last warp copies the units of the block's piece into a
/// ring, one behind the other whatever items they belong to; the other warps multiply, each with its tile of a unit,
/// and join their results at the end of each item.
///
/// In a batch whose older tokens are settled, the block begins before the launch in front of it has ended: everything
/// in front of ptx::wait_for_previous reads settled memory only, and writes no device memory but the status word.
template <class Tuning, class Tile, class Problem>
class decode_agent {
  static constexpr decode_tuning tuning = Tuning::value;
  static constexpr int rows = Tile::rows, head_dim = Tile::head_dim;
  static constexpr int stages = tuning.stages(rows, head_dim, Tile::token_bytes);
  static constexpr int unit_bytes = tuning.unit_bytes(Tile::token_bytes);
  static_assert(Tile::tokens == warp_tokens && stages >= 2, "units are tuned for tiles of warp_tokens");

  using line = decode_line<tuning.threads()>;
  using merge = decode_merge<tuning.warps * 32, head_dim, Problem>;

 public:
  /// Bytes of shared memory for a launch: so many that a multiprocessor has room for one block. Where two have room,
  /// and blocks of the launch before still run, some multiprocessors get two blocks and others none.
  KVSHARER_HD static int shared_bytes(const Problem& p) {
    const int needed = shape().shared_bytes(stages, used_rows(p), head_dim, Tile::token_bytes);
    return needed > decode_tuning::lone_shared_bytes ? needed : decode_tuning::lone_shared_bytes;
  }

  __device__ decode_agent(const Problem& problem, const decode_parts& parts)
      : p_(problem),
        parts_(parts),
        joined_(ptx::dynamic_shared() + stages * unit_bytes),
        barriers_(joined_ + shape().joined_bytes(used_rows(problem), head_dim)) {}

  __device__ void run(int block) {
    line of_units(p_, {.tokens = tuning.unit_tokens(), .tile_rows = rows, .aligned = tuning.unit_tokens()},
                  reinterpret_cast<int*>(joined_));
    of_units.prepare();
    const decode_cuts cuts(of_units.total(), parts_.blocks, of_units.even_units());
    const int begin = cuts.begin(block), end = cuts.begin(block + 1);
    const auto first = of_units.find(begin);
    tile_ring ring(ptx::dynamic_shared(), reinterpret_cast<ptx::barrier*>(barriers_), stages, unit_bytes);
    if (threadIdx.x == 0) ring.make(tuning.warps);
    __syncthreads();  // and nothing reads the sums of the line any more
    if (warp() == tuning.warps) {
      tile_copier<Tile, Problem, tuning.unit_tokens()> copier(p_, ring);
      for_each_part(p_, of_units, rows, first, begin, end,
                    [&](const item_part& part) { copier.copy(part, tokens_of(of_units, part)); });
      copier.flush();
    } else {
      ptx::wait_for_previous();
      write_empty_lists<head_dim>(p_, of_units, block, parts_.blocks, tuning.warps * 32);
      merge results(p_, parts_, used_rows(p_), reinterpret_cast<float*>(joined_),
                    reinterpret_cast<std::uint32_t*>(barriers_ + decode_tuning::most_stages * 16));
      for_each_part(p_, of_units, rows, first, begin, end, [&](const item_part& part) {
        typename Tile::state mine;
        attend(part, tokens_of(of_units, part), ring, mine);
        results.finish(part, cuts, block, mine);
      });
    }
  }

 private:
  /// A copy of the tuning: device code has no address for the class's constant.
  KVSHARER_HD static constexpr decode_tuning shape() { return Tuning::value; }

  /// The most packed rows of an item of the launch.
  KVSHARER_HD static int used_rows(const Problem& p) {
    const index_t most = p.batch.max_rows * p.group;
    return most < rows ? static_cast<int>(most) : rows;
  }

  /// The tokens of an item's part. Those from `end` on have no room in the views.
  __device__ part_tokens tokens_of(const line& of_units, const item_part& part) const {
    const int seen = static_cast<int>(part.s.first_visible(0, p_.window));
    const index_t room_of_keys = capacity_of(p_.keys, part.s.length);
    const index_t room_of_values = capacity_of(p_.values, part.s.length);
    const index_t room = room_of_keys < room_of_values ? room_of_keys : room_of_values;
    return {of_units.first_token(seen) + part.first * tuning.unit_tokens(), part.last - part.first, seen,
            static_cast<int>(part.s.length < room ? part.s.length : room)};
  }

  /// This warp's tiles of an item's part.
  __device__ void attend(const item_part& part, const part_tokens& all, tile_ring& ring, typename Tile::state& mine) {
    const typename Tile::queries queries(p_, part.s, part.at);
    const column_limits limits(p_, part.s, part.at);
    mine.init();
    const int of_warp = warp() * Tile::tokens * Tile::token_bytes;
    int token = all.first + warp() * Tile::tokens;
#pragma unroll 1
    for (int unit = 0; unit < all.units; ++unit, token += tuning.unit_tokens()) {
      std::byte* const keys = ring.wait();
      if (token < all.end && token + Tile::tokens > all.seen)
        Tile::consume(queries, limits, token, all.seen, all.end, keys + of_warp, keys + unit_bytes / 2 + of_warp, mine);
      ring.release();
    }
  }

  __device__ static int warp() { return static_cast<int>(threadIdx.x) / 32; }

  const Problem& p_;
  const decode_parts& parts_;
  std::byte* joined_;    // the line of units, then the warps' results
  std::byte* barriers_;  // of the ring, and the flag of the merge
};

}  // namespace kvsharer::inline v0::cuda::detail
