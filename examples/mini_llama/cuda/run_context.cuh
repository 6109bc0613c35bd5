// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>

#include "checkpoint/config.hpp"
#include "cuda/gemm.cuh"
#include "cuda/rotate.cuh"
#include "kvsharer/backend/cuda/attention/attend.cuh"
#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/rope.cuh"

namespace mini_llama::cuda {

/// What a run of the decoder needs besides weights, buffers and a cache, whatever its type: a backend with its own
/// scratch and status word, products, and the angles of positions [0, positions). The constructor synchronises. Cannot
/// be moved, since others borrow from it.
class run_context {
 public:
  /// `device`: from query_device(); `scratch_bytes`: what kernels other than attention need. Throws kvsharer::error
  /// (no_device, device_memory, cuda_call).
  run_context(kvsharer::cuda::stream_ref stream, const model_config& c, kvsharer::index_t positions,
              const kvsharer::cuda::device_properties& device = kvsharer::cuda::query_device(),
              std::size_t scratch_bytes = 0)
      : device_(device),
        scratch_(stream, std::max(scratch_bytes, kvsharer::cuda::attention_scratch_bytes(device_, c.head_dim))),
        status_(stream, 1),
        on_(stream, device_, scratch_.data(), scratch_.size(), cleared(status_)),
        rope_(stream, c.rope, c.head_dim, positions),
        products_(stream) {}
  run_context(const run_context&) = delete;

  const kvsharer::cuda::backend& on() const noexcept { return on_; }
  kvsharer::cuda::status_word* status() noexcept { return status_.data(); }
  kvsharer::cuda::rope_angles angles() const noexcept { return rope_.angles(); }
  gemm& products() noexcept { return products_; }

  /// Copies numbers to the host, and waits. Throws kvsharer::error: the first refusal of a kernel, cuda_call.
  template <class T>
  void fetch(const T* from, T* to, std::size_t count) const {
    kvsharer::cuda::check(cudaMemcpyAsync(to, from, count * sizeof(T), cudaMemcpyDeviceToHost, on_.stream.get()),
                          "the copy of results");
    on_.check_status();
  }

  /// Copies numbers to the device, and waits.
  template <class T>
  void place(const T* from, std::size_t count, T* to) const {
    kvsharer::cuda::check(cudaMemcpyAsync(to, from, count * sizeof(T), cudaMemcpyHostToDevice, on_.stream.get()),
                          "the copy of token ids");
    on_.stream.synchronize();
  }

 private:
  static kvsharer::cuda::status_word* cleared(kvsharer::cuda::device_buffer<kvsharer::cuda::status_word>& word) {
    kvsharer::cuda::check(cudaMemsetAsync(word.data(), 0, word.bytes(), word.stream().get()), "cudaMemsetAsync");
    return word.data();
  }

  kvsharer::cuda::device_properties device_;
  kvsharer::cuda::device_buffer<std::byte> scratch_;
  kvsharer::cuda::device_buffer<kvsharer::cuda::status_word> status_;
  kvsharer::cuda::backend on_;
  device_rope rope_;
  gemm products_;
};

}  // namespace mini_llama::cuda
