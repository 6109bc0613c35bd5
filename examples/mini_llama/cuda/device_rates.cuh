// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "cuda/gemm.cuh"
#include "cuda/moment.cuh"
#include "cuda/weights.cuh"
#include "kvsharer/backend/cuda/memory.cuh"

/// The peak rates of the device, measured in the run that is compared with them.
namespace mini_llama::cuda {

/// Median of the seconds of several runs of `work`, after one run that is not counted.
template <class Work>
double median_seconds(kvsharer::cuda::stream_ref stream, Work&& work) {
  work();
  std::array<double, 9> seconds{};
  moment begin, end;
  for (double& s : seconds) {
    begin.record(stream);
    work();
    end.record(stream);
    s = end.seconds_since(begin);
  }
  std::nth_element(seconds.begin(), seconds.begin() + seconds.size() / 2, seconds.end());
  return seconds[seconds.size() / 2];
}

/// Bytes per second of a copy inside the device, counting bytes read and bytes written. Not captured: the same copy is
/// slower as part of a graph.
inline double copy_bytes_per_second(kvsharer::cuda::stream_ref stream, std::size_t bytes = std::size_t{1} << 30) {
  kvsharer::cuda::device_buffer<std::byte> from(stream, bytes), to(stream, bytes);
  kvsharer::cuda::check(cudaMemsetAsync(from.data(), 1, bytes, stream.get()), "cudaMemsetAsync");
  return 2.0 * static_cast<double>(bytes) / median_seconds(stream, [&] {
           kvsharer::cuda::check(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, stream.get()),
                                 "a copy");
         });
}

/// Operations per second of a product of many rows with a model's largest matrix. Uses the model's own numbers: a
/// product of zeros draws less power, and so runs faster than any useful one.
template <kvsharer::CacheElement E>
double product_operations_per_second(kvsharer::cuda::stream_ref stream, gemm& products,
                                     const device_weights<E>& weights) {
  const model_config& c = weights.config();
  const gemm_shape shape{.rows = std::min<kvsharer::index_t>(c.vocab, 8192),
                         .n = 2 * kvsharer::index_t{c.intermediate},
                         .k = c.hidden,
                         .type = dtype_of<E>,
                         .out = dtype_of<E>};
  products.tune(shape);
  kvsharer::cuda::device_buffer<E> out(stream, static_cast<std::size_t>(shape.rows * shape.n));
  const double seconds = median_seconds(stream, [&] {
    products(weights.embedding(), weights.layer(0).gate_up, out.data(), shape.rows, shape.n, shape.k);
  });
  return 2.0 * static_cast<double>(shape.rows) * static_cast<double>(shape.n) * static_cast<double>(shape.k) / seconds;
}

}  // namespace mini_llama::cuda
