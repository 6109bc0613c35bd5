// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>

#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

/// Sixteen bytes of a row, the unit in which all of the driver's kernels read and write.
namespace mini_llama::cuda {

/// Numbers of one type that fill 16 bytes.
template <kvsharer::CacheElement E>
inline constexpr int chunk_size = static_cast<int>(16 / sizeof(E));

/// A chunk as floats.
template <kvsharer::CacheElement E>
struct chunk {
  float x[chunk_size<E>];
};

/// Precondition of both: p is a multiple of 16.
template <kvsharer::CacheElement E>
__device__ chunk<E> load_chunk(const E* p) {
  if constexpr (std::same_as<E, float>) {
    const float4 raw = *reinterpret_cast<const float4*>(p);
    return {{raw.x, raw.y, raw.z, raw.w}};
  } else {
    const uint4 raw = *reinterpret_cast<const uint4*>(p);
    const float2 a = kvsharer::cuda::ptx::unpack<E>(raw.x), b = kvsharer::cuda::ptx::unpack<E>(raw.y),
                 c = kvsharer::cuda::ptx::unpack<E>(raw.z), d = kvsharer::cuda::ptx::unpack<E>(raw.w);
    return {{a.x, a.y, b.x, b.y, c.x, c.y, d.x, d.y}};
  }
}
template <kvsharer::CacheElement E>
__device__ void store_chunk(E* p, const chunk<E>& c) {
  if constexpr (std::same_as<E, float>)
    *reinterpret_cast<float4*>(p) = make_float4(c.x[0], c.x[1], c.x[2], c.x[3]);
  else
    *reinterpret_cast<uint4*>(p) =
        make_uint4(kvsharer::cuda::ptx::pack<E>(c.x[0], c.x[1]), kvsharer::cuda::ptx::pack<E>(c.x[2], c.x[3]),
                   kvsharer::cuda::ptx::pack<E>(c.x[4], c.x[5]), kvsharer::cuda::ptx::pack<E>(c.x[6], c.x[7]));
}

/// As many floats as a chunk of E has, whatever they are for.
template <kvsharer::CacheElement E>
__device__ chunk<E> load_floats(const float* p) {
  chunk<E> c;
#pragma unroll
  for (int i = 0; i < chunk_size<E>; i += 4) {
    const float4 raw = *reinterpret_cast<const float4*>(p + i);
    c.x[i] = raw.x;
    c.x[i + 1] = raw.y;
    c.x[i + 2] = raw.z;
    c.x[i + 3] = raw.w;
  }
  return c;
}

/// Throws kvsharer::error (bad_shape) unless rows of `width` numbers are whole chunks.
template <kvsharer::CacheElement E>
void require_chunks(kvsharer::index_t width, const char* what) {
  if (width < 1 || width % chunk_size<E> != 0)
    throw kvsharer::error(kvsharer::errc::bad_shape, std::string(what) + " of " + std::to_string(width) +
                                                         " numbers is no multiple of " + std::to_string(chunk_size<E>) +
                                                         ", which the kernels for this type need");
}

/// Throws kvsharer::error (bad_argument) unless p is a multiple of 16.
inline void require_aligned(const void* p, const char* what) {
  if (p == nullptr || reinterpret_cast<std::uintptr_t>(p) % 16 != 0)
    throw kvsharer::error(kvsharer::errc::bad_argument,
                          std::string(what) + " must lie in device memory at a multiple of 16 bytes");
}

/// Threads of a block that has `work` pieces to do: whole warps, at most `most`.
constexpr unsigned block_threads(kvsharer::index_t work, unsigned most) {
  const kvsharer::index_t warps = (work + 31) / 32;
  return warps * 32 < most ? static_cast<unsigned>(warps < 1 ? 32 : warps * 32) : most;
}

}  // namespace mini_llama::cuda
