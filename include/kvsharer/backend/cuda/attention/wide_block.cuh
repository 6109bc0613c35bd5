// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kvsharer/backend/cuda/attention/swizzled_tile.cuh"
#include "kvsharer/backend/cuda/attention/wide_order.cuh"
#include "kvsharer/backend/cuda/attention/wide_tuning.hpp"
#include "kvsharer/backend/cuda/ptx.cuh"

/// What the warpgroups of a block share: tiles, and the barriers by which they hand them over.
namespace kvsharer::inline v0::cuda::detail {

/// Which named barriers serve what.
inline constexpr int producer_barrier = 1, first_turn_barrier = 2;

/// Static shared memory. Its size tells the host whether the kernel has code (wide_kernel.cuh).
template <int Stages>
struct wide_shared {
  ptx::barrier query_full, query_empty;
  ptx::barrier key_full[Stages], key_empty[Stages], value_full[Stages], value_empty[Stages];
  wide_item items[2];  ///< of the block, in turns
};

template <class Tuning, int HeadDim>
struct wide_block {
  static constexpr wide_tuning tuning = Tuning::value;
  using key_tile = swizzled_tile<HeadDim, tuning.tokens>;
  using query_tile = swizzled_tile<HeadDim, tuning.rows()>;
  using shared_state = wide_shared<tuning.stages>;

  shared_state& shared;
  std::byte* tiles;  // queries; keys of all stages; values of all stages

  __device__ wide_block() : shared(ptx::static_shared<shared_state>()), tiles(ptx::dynamic_shared()) {
    tiles += (1024 - ptx::shared_address(tiles) % 1024) % 1024;
  }

  __device__ std::byte* queries() const { return tiles; }
  __device__ std::byte* keys(int stage) const { return tiles + query_tile::bytes + stage * key_tile::bytes; }
  __device__ std::byte* values(int stage) const { return keys(tuning.stages + stage); }

  /// One thread calls this before all others go on. A tile is full when all threads of the producer have arrived, and
  /// empty when all that read it have; queries come with an item, which one more arrival stands for. Every lane arrives
  /// for itself: racecheck takes one that arrives for its warp for a race.
  __device__ void init_barriers() const {
    constexpr int full = warpgroup_threads, empty = tuning.consumers * warpgroup_threads;
    ptx::barrier_init(shared.query_full, full + 1);
    ptx::barrier_init(shared.query_empty, empty);
    for (int stage = 0; stage < tuning.stages; ++stage) {
      ptx::barrier_init(shared.key_full[stage], full);
      ptx::barrier_init(shared.value_full[stage], full);
      ptx::barrier_init(shared.key_empty[stage], empty);
      ptx::barrier_init(shared.value_empty[stage], empty);
    }
  }
};

/// Where a role stands in the ring of tiles: both roles take the same tiles in the same order.
template <int Stages>
struct ring_place {
  int stage = 0;
  int parity = 0;  ///< of the phase that ends when the tile is full; the one before ended when the stage was empty

  __device__ __forceinline__ void advance() {
    if (++stage < Stages) return;
    stage = 0;
    parity ^= 1;
  }
};

}  // namespace kvsharer::inline v0::cuda::detail
