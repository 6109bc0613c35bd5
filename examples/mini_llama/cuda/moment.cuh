// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"

namespace mini_llama::cuda {

/// A point in a stream's work, timed by the device's clock.
class moment {
 public:
  moment() { kvsharer::cuda::check(cudaEventCreateWithFlags(&event_, cudaEventDefault), "cudaEventCreate"); }
  moment(const moment&) = delete;
  ~moment() { cudaEventDestroy(event_); }

  void record(kvsharer::cuda::stream_ref stream) {
    kvsharer::cuda::check(cudaEventRecord(event_, stream.get()), "cudaEventRecord");
  }

  /// Seconds from `begin` to this point. Waits until the stream has reached it.
  double seconds_since(const moment& begin) const {
    kvsharer::cuda::check(cudaEventSynchronize(event_), "cudaEventSynchronize");
    float milliseconds = 0;
    kvsharer::cuda::check(cudaEventElapsedTime(&milliseconds, begin.event_, event_), "cudaEventElapsedTime");
    return milliseconds * 1e-3;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace mini_llama::cuda
