// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"

namespace kvsharer::inline v0::cuda::detail {

/// May a kernel start while the one before it in the stream still runs?
enum class order : bool {
  after,    ///< no
  overlaps  ///< yes: it calls ptx::wait_for_previous() before it touches what earlier work writes or reads
};

/// The grid and block of a launch.
struct launch_shape {
  dim3 grid;
  unsigned threads;
  std::size_t shared_bytes = 0;
  order to_previous = order::after;
};

/// Launches a kernel and checks that the launch succeeded. Throws errc::cuda_call. `name` is for the message.
template <class... P, class... A>
void launch(const char* name, stream_ref stream, const launch_shape& shape, void (*kernel)(P...), A&&... arguments) {
  if (shape.shared_bytes > 48 * 1024)
    check(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.shared_bytes)),
        name);
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream.get();
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &overlap;
  config.numAttrs = shape.to_previous == order::overlaps ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, std::forward<A>(arguments)...), name);
}

}  // namespace kvsharer::inline v0::cuda::detail
