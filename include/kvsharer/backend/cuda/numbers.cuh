// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/core/element.hpp"

namespace kvsharer::inline v0::cuda {

/// The neighbouring numbers of a stored type that one access of 16 bytes takes, as floats.
template <CacheElement E>
struct numbers {
  static constexpr int count = 16 / sizeof(E);  ///< 4 floats, or 8 numbers of 16 bits
  float x[count];                               ///< decoded

  /// Reads from an address at a multiple of 16 bytes.
  __device__ static numbers load(const E* from) {
    const uint4 bits = *reinterpret_cast<const uint4*>(from);
    const std::uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
    numbers n;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (sizeof(E) == 4) {
        n.x[i] = kvsharer::detail::same_bits<float>(words[i]);
      } else {
        const float2 pair = ptx::unpack<E>(words[i]);
        n.x[2 * i] = pair.x;
        n.x[2 * i + 1] = pair.y;
      }
    }
    return n;
  }

  /// Writes them, rounded, to such an address.
  __device__ void store(E* to) const {
    std::uint32_t words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (sizeof(E) == 4)
        words[i] = kvsharer::detail::same_bits<std::uint32_t>(x[i]);
      else
        words[i] = ptx::pack<E>(x[2 * i], x[2 * i + 1]);
    }
    *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
  }
};

}  // namespace kvsharer::inline v0::cuda
