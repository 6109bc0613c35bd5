// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include "kvsharer/backend/cuda/numbers.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda {

/// Rotary angles in device memory, borrowed: the numbers of the host's rope_table::numbers(), with its base and scaling
/// rules applied. At a multiple of 16 bytes.
struct rope_angles {
  const float* table = nullptr;  ///< [positions][cosines, sines][head_dim / 2]
  index_t positions = 0;         ///< in the table; rows must have positions below this
};

/// Rotates a head's channels from `c` on, and their partners `half` channels further (rope_pairing::half_split), by the
/// angles of a position in [0, rope.positions).
template <class E>
__device__ void rotate_halves(const rope_angles& rope, index_t position, index_t half, index_t c, numbers<E>& low,
                              numbers<E>& high) {
  const float* const at = rope.table + position * 2 * half + c;
#pragma unroll
  for (int i = 0; i < numbers<E>::count; i += numbers<float>::count) {
    const auto cosine = numbers<float>::load(at + i), sine = numbers<float>::load(at + half + i);
#pragma unroll
    for (int j = 0; j < numbers<float>::count; ++j) {
      const float a = low.x[i + j], b = high.x[i + j];
      low.x[i + j] = a * cosine.x[j] - b * sine.x[j];
      high.x[i + j] = b * cosine.x[j] + a * sine.x[j];
    }
  }
}

}  // namespace kvsharer::inline v0::cuda
