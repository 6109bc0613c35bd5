// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"

namespace kvsharer::inline v0::cuda::detail {

/// The grid and block of a launch.
struct launch_shape {
  dim3 grid;
  unsigned threads;
  std::size_t shared_bytes = 0;
};

/// Launches a kernel and checks that it was taken. Throws errc::cuda_call. `name` is for the message.
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
  check(cudaLaunchKernelEx(&config, kernel, std::forward<A>(arguments)...), name);
}

}  // namespace kvsharer::inline v0::cuda::detail
