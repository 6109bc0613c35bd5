// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
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
class backend {
 public:
  /// Caches in device memory.
  template <memory_space S>
  static constexpr bool can_read = S == memory_space::device;

  /// The first bytes of the scratch count what the blocks of a launch have done, and are 0 between launches.
  static constexpr std::size_t counter_bytes = 8192;

  /// `scratch` begins at a multiple of 256 bytes and is not shared by streams that run at the same time; entry points
  /// say how much they need, the largest serves all. Clears its counters, in stream order. Null `refusals` mean that
  /// refusals of kernels are not reported. Throws errc::cuda_call.
  backend(stream_ref on, const device_properties& properties, std::byte* scratch = nullptr,
          std::size_t scratch_bytes = 0, status_word* refusals = nullptr)
      : stream(on), device(properties), status(refusals), scratch_(scratch), scratch_bytes_(scratch_bytes) {
    if (scratch_bytes >= counter_bytes)
      check(cudaMemsetAsync(scratch, 0, counter_bytes, stream.get()), "the clearing of counters");
  }

  stream_ref stream;         ///< where the work goes
  device_properties device;  ///< of the device of that stream
  status_word* status;       ///< in device memory; null: refusals are not reported

  /// Of the scratch memory that the engine lent, counters included.
  std::size_t scratch_bytes() const noexcept { return scratch_bytes_; }

  /// The scratch behind the counters, seen as numbers. Throws errc::short_scratch when it is smaller than `bytes`,
  /// counters included.
  float* scratch_for(std::size_t bytes) const {
    if (bytes > scratch_bytes_)
      throw error(errc::short_scratch, "this call needs " + std::to_string(bytes) +
                                           " bytes of scratch memory on the device, and the backend was given " +
                                           std::to_string(scratch_bytes_));
    return reinterpret_cast<float*>(scratch_ + counter_bytes);
  }

  /// So many counters for a launch, all 0; the launch leaves them so. Throws errc::short_scratch.
  std::uint32_t* counters(int count) const {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(std::uint32_t);
    if (bytes > counter_bytes || scratch_bytes_ < counter_bytes)
      throw error(errc::short_scratch, "there are no " + std::to_string(count) + " counters in " +
                                           std::to_string(scratch_bytes_) + " bytes of scratch memory");
    return reinterpret_cast<std::uint32_t*>(scratch_);
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

 private:
  std::byte* scratch_;
  std::size_t scratch_bytes_;
};

}  // namespace kvsharer::inline v0::cuda
