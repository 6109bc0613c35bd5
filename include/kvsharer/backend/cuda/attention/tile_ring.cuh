// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "kvsharer/backend/cuda/attention/warp_product.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"

namespace kvsharer::inline v0::cuda::detail {

/// Stages of shared memory in turns, each filled by copies in bulk: one warp fills them, as far ahead as there are
/// stages, and others read them, all in the same order. Nothing empties the ring between items of work, so memory is
/// busy while results are joined. Every thread has a ring object of its own; the stages and their barriers are shared.
/// Every lane arrives for itself: racecheck takes one that arrives for its warp for a race.
class tile_ring {
 public:
  /// `barriers`: [2 * stages].
  __device__ tile_ring(std::byte* data, ptx::barrier* barriers, int stages, int stage_bytes)
      : data_(data), barriers_(barriers), stages_(stages), stage_bytes_(stage_bytes) {}

  /// One thread of the block calls this, and then the block meets. `readers`: warps that read.
  __device__ void make(int readers) {
    for (int i = 0; i < stages_; ++i) {
      ptx::barrier_init(filled()[i], 32);
      ptx::barrier_init(read()[i], 32 * readers);
    }
    ptx::barriers_fence();
  }

  /// The filling warp: waits until all have read what the next stage held. Returns the stage.
  __device__ std::byte* begin_fill() {
    ptx::barrier_wait(read()[stage_], parity_ ^ 1);
    return data_ + stage_ * stage_bytes_;
  }
  /// Between begin_fill and end_fill, by any lane.
  __device__ void copy(std::byte* to, const void* from, int bytes) {
    ptx::barrier_expect(filled()[stage_], bytes);
    ptx::copy_bulk(to, from, bytes, filled()[stage_]);
  }
  /// Every lane of the filling warp: it has started its copies of the stage.
  __device__ void end_fill() {
    ptx::barrier_arrive(filled()[stage_]);
    go_on();
  }

  /// A reading warp: the next stage, once it is filled.
  __device__ std::byte* wait() {
    ptx::barrier_wait(filled()[stage_], parity_);
    return data_ + stage_ * stage_bytes_;
  }
  /// Every lane of a reading warp: it has read the stage. If it wrote to it, it calls ptx::fence_async_proxy before.
  __device__ void release() {
    ptx::barrier_arrive(read()[stage_]);
    go_on();
  }

 private:
  __device__ ptx::barrier* filled() const { return barriers_; }
  __device__ ptx::barrier* read() const { return barriers_ + stages_; }
  __device__ void go_on() {
    if (++stage_ == stages_) {
      stage_ = 0;
      parity_ ^= 1;
    }
  }

  std::byte* data_;
  ptx::barrier* barriers_;
  int stages_, stage_bytes_;
  int stage_ = 0, parity_ = 0;
};

}  // namespace kvsharer::inline v0::cuda::detail
