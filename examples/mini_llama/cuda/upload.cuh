// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <concepts>
#include <cstddef>

#include "cuda/element.hpp"
#include "cuda/fill.cuh"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"
#include "network/linear.hpp"

namespace mini_llama::cuda {

/// Copies stored weights to the device and converts them to the type E. Weights of another type pass through one piece
/// of device memory and are converted there.
template <kvsharer::CacheElement E>
class uploader {
 public:
  static constexpr kvsharer::index_t piece_numbers = 16 << 20;

  explicit uploader(kvsharer::cuda::stream_ref stream, kvsharer::index_t piece = piece_numbers)
      : stream_(stream), piece_(piece), staging_(stream) {}

  /// to [w.out][w.in] = w, in stream order; w's numbers must stay valid until the stream has been synchronised.
  void operator()(const weight& w, E* to) {
    const kvsharer::index_t n = w.out * w.in;
    switch (w.type) {
      case dtype::f32:
        return copy<float>(w.data, to, n);
      case dtype::f16:
        return copy<kvsharer::float16>(w.data, to, n);
      case dtype::bf16:
        return copy<kvsharer::bfloat16>(w.data, to, n);
    }
  }

 private:
  template <class From>
  void copy(const std::byte* from, E* to, kvsharer::index_t n) {
    if constexpr (std::same_as<From, E>) {
      bring(from, to, n * size_of(dtype_of<E>));
    } else {
      constexpr kvsharer::index_t size = sizeof(From);
      const kvsharer::index_t piece = std::min(piece_, n);
      if (staging_.bytes() < static_cast<std::size_t>(piece * size))
        staging_ = kvsharer::cuda::device_buffer<std::byte>(stream_, static_cast<std::size_t>(piece * size));
      for (kvsharer::index_t at = 0; at < n; at += piece) {
        const kvsharer::index_t now = std::min(piece, n - at);
        bring(from + at * size, staging_.data(), now * size);
        convert(stream_, reinterpret_cast<const From*>(staging_.data()), to + at, now);
      }
    }
  }

  void bring(const std::byte* from, void* to, kvsharer::index_t bytes) {
    kvsharer::cuda::check(
        cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice, stream_.get()),
        "cudaMemcpyAsync");
  }

  kvsharer::cuda::stream_ref stream_;
  kvsharer::index_t piece_;
  kvsharer::cuda::device_buffer<std::byte> staging_;
};

}  // namespace mini_llama::cuda
