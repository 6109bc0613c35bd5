// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string>

#include "kvsharer/backend/cuda/device.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda {

/// Where the library's device work goes: a stream, scratch memory and a status word, all borrowed from the engine and
/// all on one device, the current one. A value, cheap to copy. Work given to it runs in stream order; nothing that
/// takes a backend waits for the device unless its comment says so.
struct backend {
  template <memory_space S>
  static constexpr bool can_read = S == memory_space::device;

  stream_ref stream;
  device_properties device;
  std::byte* scratch = nullptr;  ///< at a multiple of 256 bytes; not shared by streams that run at the same time
  std::size_t scratch_bytes = 0;
  status_word* status = nullptr;  ///< in device memory; null: refusals of kernels are not reported

  /// The scratch, seen as numbers. Throws errc::short_scratch when it is smaller than `bytes`.
  float* scratch_for(std::size_t bytes) const {
    if (bytes > scratch_bytes)
      throw error(errc::short_scratch, "this call needs " + std::to_string(bytes) +
                                           " bytes of scratch memory on the device, and the backend was given " +
                                           std::to_string(scratch_bytes));
    return reinterpret_cast<float*>(scratch);
  }

  /// Throws errc::device_refusal for the first refusal since the status word was cleared, and clears it. Synchronises.
  void check_status() const {
    if (status == nullptr) return;
    status_word word;
    check(cudaMemcpyAsync(&word, status, sizeof word, cudaMemcpyDeviceToHost, stream.get()), "cudaMemcpyAsync");
    stream.synchronize();
    if (word.why == 0) return;
    check(cudaMemsetAsync(status, 0, sizeof word, stream.get()), "cudaMemsetAsync");
    cuda::check(word);
  }
};

}  // namespace kvsharer::inline v0::cuda
