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
/// all on one device, the current one. A value, cheap to copy. Work runs in stream order; functions that take a backend
/// wait for the device only if their comment says so.
class backend {
 public:
  /// True for caches in device memory.
  template <memory_space S>
  static constexpr bool can_read = S == memory_space::device;

  /// The first bytes of the scratch count what the blocks of a launch have done; they are 0 between launches.
  static constexpr std::size_t counter_bytes = 8192;

  /// `scratch` begins at a multiple of 256 bytes; streams that run at the same time must not share it. Entry points say
  /// how much they need; the largest amount serves all. Clears the counters, in stream order. With a null `refusals`,
  /// refusals of kernels are not reported. Throws errc::cuda_call.
  backend(stream_ref on, const device_properties& properties, std::byte* scratch = nullptr,
          std::size_t scratch_bytes = 0, status_word* refusals = nullptr)
      : stream(on), device(properties), status(refusals), scratch_(scratch), scratch_bytes_(scratch_bytes) {
    if (scratch_bytes >= counter_bytes)
      check(cudaMemsetAsync(scratch, 0, counter_bytes, stream.get()), "the clearing of counters");
  }

  stream_ref stream;         ///< where the work goes
  device_properties device;  ///< properties of the stream's device
  status_word* status;       ///< in device memory; null: refusals are not reported

  /// Bytes of the scratch memory that the engine lent, counters included.
  std::size_t scratch_bytes() const noexcept { return scratch_bytes_; }

  /// The scratch after the counters, as floats. Throws errc::short_scratch if the whole scratch, counters included, is
  /// smaller than `bytes`.
  float* scratch_for(std::size_t bytes) const {
    if (bytes > scratch_bytes_)
      throw error(errc::short_scratch, "this call needs " + std::to_string(bytes) +
                                           " bytes of scratch memory on the device, and the backend was given " +
                                           std::to_string(scratch_bytes_));
    return reinterpret_cast<float*>(scratch_ + counter_bytes);
  }

  /// `count` counters for a launch, all 0; the launch must leave them at 0. Throws errc::short_scratch.
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
