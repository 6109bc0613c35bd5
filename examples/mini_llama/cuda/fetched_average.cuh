// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <vector>

#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "kvsharer/kvsharer.hpp"

namespace mini_llama::cuda {
namespace detail {

/// The numbers of an average in device memory, copied to the host, as a KVCache.
struct fetched_planes {
  static constexpr auto space = kvsharer::memory_space::host;
  using view = kvsharer::layer_view<float, kvsharer::layout::strided_index>;

  kvsharer::cache_shape of;
  std::vector<float> numbers;  // [keys, values][layer][kv_head][token][channel]

  kvsharer::cache_shape shape() const { return of; }
  kvsharer::index_t length() const { return of.capacity; }
  kvsharer::index_t plane() const { return of.kv_heads * of.capacity * of.head_dim; }
  view plane_at(kvsharer::index_t i) const {
    return {numbers.data() + i * plane(), {.head = of.capacity * of.head_dim, .token = of.head_dim}};
  }
  view keys(kvsharer::layer_id l) const { return plane_at(l.value); }
  view values(kvsharer::layer_id l) const { return plane_at(of.layers + l.value); }
};
static_assert(kvsharer::KVCache<fetched_planes>);

}  // namespace detail

/// A host average of the same numbers, for computations that only the host has. Synchronises. Throws what the average's
/// views throw, and errc::cuda_call.
template <class Average>
kvsharer::calibration_average fetch_average(kvsharer::cuda::stream_ref stream, const Average& average) {
  const kvsharer::cache_shape s = average.shape();
  detail::fetched_planes fetched{
      s, std::vector<float>(static_cast<std::size_t>(2 * s.layers * s.kv_heads * s.capacity * s.head_dim))};
  const auto bytes = static_cast<std::size_t>(fetched.plane()) * sizeof(float);
  const auto bring = [&](const float* from, kvsharer::index_t plane) {
    kvsharer::cuda::check(cudaMemcpyAsync(fetched.numbers.data() + plane * fetched.plane(), from, bytes,
                                          cudaMemcpyDeviceToHost, stream.get()),
                          "cudaMemcpyAsync");
  };
  for (kvsharer::layer_id l{0}; l.value < s.layers; ++l.value) {
    bring(average.keys(l).data, l.value);
    bring(average.values(l).data, s.layers + l.value);
  }
  stream.synchronize();
  kvsharer::calibration_average same;
  same.add(fetched);  // the mean of one
  return same;
}

}  // namespace mini_llama::cuda
