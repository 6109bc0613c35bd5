// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <utility>

#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"

namespace mini_llama::cuda {

/// Stream work that was captured once and can run again any number of times. Move only.
class replay {
 public:
  replay() = default;

  /// Captures the work that `work()` puts on the stream. Throws kvsharer::error (cuda_call), and what `work` throws.
  template <class Work>
  replay(kvsharer::cuda::stream_ref stream, Work&& work) {
    using kvsharer::cuda::check;
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    try {
      work();
    } catch (...) {
      if (cudaStreamEndCapture(stream.get(), &graph) == cudaSuccess && graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    check(cudaStreamEndCapture(stream.get(), &graph), "cudaStreamEndCapture");
    const cudaError_t made = cudaGraphInstantiate(&run_, graph, 0);
    cudaGraphDestroy(graph);
    check(made, "cudaGraphInstantiate");
  }
  replay(replay&& other) noexcept : run_(std::exchange(other.run_, nullptr)) {}
  replay& operator=(replay&& other) noexcept {
    std::swap(run_, other.run_);
    return *this;
  }
  ~replay() {
    if (run_ != nullptr) cudaGraphExecDestroy(run_);
  }

  explicit operator bool() const noexcept { return run_ != nullptr; }

  void operator()(kvsharer::cuda::stream_ref stream) const {
    kvsharer::cuda::check(cudaGraphLaunch(run_, stream.get()), "cudaGraphLaunch");
  }

 private:
  cudaGraphExec_t run_ = nullptr;
};

}  // namespace mini_llama::cuda
