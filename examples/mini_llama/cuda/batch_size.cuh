// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>

#include "checkpoint/config.hpp"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

/// How many sequences run as one batch.
namespace mini_llama::cuda {

/// Bytes of device memory that a run takes per sequence.
template <kvsharer::CacheElement E>
std::size_t sequence_bytes(const model_config& c, kvsharer::index_t tokens, kvsharer::index_t stored_planes,
                           kvsharer::index_t extra_states) {
  using kvsharer::index_t;
  const index_t queries = index_t{c.heads} * c.head_dim, keys = index_t{c.kv_heads} * c.head_dim;
  const index_t of_run = 2 * index_t{c.hidden} + 3 * queries + 2 * keys + 3 * index_t{c.intermediate};
  const index_t of_row = of_run + extra_states * c.hidden + stored_planes * keys;
  return static_cast<std::size_t>(tokens * of_row) * sizeof(E);
}

/// The number of sequences of `tokens` tokens that make up `rows` rows and fit three quarters of the free memory,
/// between one and `most`. Throws kvsharer::error (cuda_call).
inline kvsharer::index_t sequences_at_once(kvsharer::index_t tokens, kvsharer::index_t rows, std::size_t bytes,
                                           kvsharer::index_t most) {
  std::size_t free = 0, all = 0;
  kvsharer::cuda::check(cudaMemGetInfo(&free, &all), "cudaMemGetInfo");
  const auto fitting = static_cast<kvsharer::index_t>(free / 4 * 3 / bytes);
  return std::clamp<kvsharer::index_t>(std::min(rows / tokens, fitting), 1, most);
}

}  // namespace mini_llama::cuda
