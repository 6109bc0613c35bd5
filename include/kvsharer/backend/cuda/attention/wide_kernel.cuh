// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kvsharer/backend/cuda/attention/wide_block.cuh"
#include "kvsharer/backend/cuda/attention/wide_consumer.cuh"
#include "kvsharer/backend/cuda/attention/wide_producer.cuh"
#include "kvsharer/backend/cuda/attention/wide_tuning.hpp"
#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/ptx_hopper.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/config.hpp"

/// Prefill attention by products of warpgroups, for compute capability 9.0. Blocks stay and take tiles of rows one
/// after another; one warpgroup of a block copies, the others multiply.
namespace kvsharer::inline v0::cuda::detail {

/// Grid: any number of blocks. `counter` is 0, and 0 again at the end. Empty unless compiled for sm_90a.
template <class Tuning, int HeadDim, class Problem>
KVSHARER_HIDDEN __global__ void __launch_bounds__(Tuning::value.threads(), 1)
    wide_prefill_kernel(const __grid_constant__ Problem problem, std::uint32_t* counter, index_t l2_bytes) {
  if constexpr (ptx::has_warpgroup_products()) {
    const wide_block<Tuning, HeadDim> block;
    if (threadIdx.x == 0) block.init_barriers();
    __syncthreads();
    // From one lane, so that the compiler knows the number to be that of the whole warp.
    const int warpgroup = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / warpgroup_threads, 0);
    if (warpgroup == 0) {
      ptx::give_registers<Tuning::value.producer_registers>();
      wide_producer<Tuning, HeadDim, Problem>(problem, block, counter, l2_bytes).run(static_cast<int>(threadIdx.x));
    } else {
      ptx::take_registers<Tuning::value.consumer_registers>();
      wide_consumer<Tuning, HeadDim, Problem>(problem, block, warpgroup - 1).run();
    }
  }
}

/// Is there such a kernel for these numbers?
template <int HeadDim, class Problem>
inline constexpr bool has_wide_prefill = sizeof(typename Problem::element) == 2 && (HeadDim == 64 || HeadDim == 128);

/// Does it run here, and can it do what is asked? The binary's code for the device may be without it: only code for
/// sm_90a has barriers in static shared memory. Throws errc::cuda_call.
template <int HeadDim, class Problem>
bool wide_prefill_runs(const backend& on, const Problem& p) {
  if (on.device.capability != 90 || p.extras.mass != nullptr || !(p.scale > 0)) return false;
  cudaFuncAttributes code;
  check(cudaFuncGetAttributes(&code, wide_prefill_kernel<tuned_wide<HeadDim>, HeadDim, Problem>), "prefill attention");
  return code.sharedSizeBytes > 0;
}

template <int HeadDim, class Problem>
void attend_wide(const backend& on, const Problem& p) {
  using tuned = tuned_wide<HeadDim>;
  constexpr wide_tuning tuning = tuned::value;
  const index_t most = (p.batch.rows * p.group / tuning.rows() + p.batch.sequences) * p.kv_heads;  // tiles
  const index_t blocks = std::min<index_t>(on.device.multiprocessors, most);
  launch("prefill attention", on.stream,
         {dim3(static_cast<unsigned>(blocks)), static_cast<unsigned>(tuning.threads()),
          static_cast<std::size_t>(tuning.shared_bytes(HeadDim))},
         wide_prefill_kernel<tuned, HeadDim, Problem>, p, on.counters(1), static_cast<index_t>(on.device.l2_bytes / 2));
}

}  // namespace kvsharer::inline v0::cuda::detail
