// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <concepts>
#include <cstddef>

#include "kvsharer/backend/cuda/status.cuh"

namespace kvsharer::inline v0::cuda {

/// A stream of the engine, borrowed. Made from a cudaStream_t or from anything with `get()` that returns one, such as
/// cuda::stream_ref; never from 0 or nullptr, so that nobody uses the default stream by accident.
class stream_ref {
 public:
  /// The stream stays the engine's.
  stream_ref(cudaStream_t stream) noexcept : stream_(stream) {}
  /// From an object that owns or refers to a stream.
  template <class S>
  requires requires(const S& s) {
    { s.get() } -> std::same_as<cudaStream_t>;
  }
  stream_ref(const S& stream) : stream_(stream.get()) {}
  stream_ref(int) = delete;
  stream_ref(std::nullptr_t) = delete;

  /// The stream itself.
  cudaStream_t get() const noexcept { return stream_; }

  /// Waits for all work given to the stream. Throws errc::cuda_call.
  void synchronize() const { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

 private:
  cudaStream_t stream_;
};

}  // namespace kvsharer::inline v0::cuda
