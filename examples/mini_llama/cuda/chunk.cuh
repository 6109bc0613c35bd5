// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "kvsharer/backend/cuda/numbers.cuh"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

/// Rows in chunks of sixteen bytes, the unit in which all of the driver's kernels read and write.
namespace mini_llama::cuda {

/// A chunk, as floats.
using kvsharer::cuda::numbers;

/// Numbers of one type that fill a chunk.
template <kvsharer::CacheElement E>
inline constexpr int chunk_size = numbers<E>::count;

/// Throws kvsharer::error (bad_shape) unless rows of `width` numbers are whole chunks.
template <kvsharer::CacheElement E>
void require_chunks(kvsharer::index_t width, const char* what) {
  if (width < 1 || width % chunk_size<E> != 0)
    throw kvsharer::error(kvsharer::errc::bad_shape,
                          std::string(what) + " of " + std::to_string(width) + " numbers is not a multiple of " +
                              std::to_string(chunk_size<E>) + ", which the kernels for this type need");
}

/// Throws kvsharer::error (bad_argument) unless p is a multiple of 16.
inline void require_aligned(const void* p, const char* what) {
  if (p == nullptr || reinterpret_cast<std::uintptr_t>(p) % 16 != 0)
    throw kvsharer::error(kvsharer::errc::bad_argument,
                          std::string(what) + " must lie in device memory at a multiple of 16 bytes");
}

/// Threads of a block with `work` pieces to do: whole warps, at most `most`.
constexpr unsigned block_threads(kvsharer::index_t work, unsigned most) {
  const kvsharer::index_t warps = (work + 31) / 32;
  return warps * 32 < most ? static_cast<unsigned>(warps < 1 ? 32 : warps * 32) : most;
}

}  // namespace mini_llama::cuda
