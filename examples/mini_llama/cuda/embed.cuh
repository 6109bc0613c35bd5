// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/batch_rows.cuh"
#include "cuda/chunk.cuh"
#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

namespace mini_llama::cuda {
namespace detail {

inline constexpr unsigned embed_threads = 256;

/// Grid: rows.
template <class E>
KVSHARER_HIDDEN __global__ void __launch_bounds__(embed_threads)
    embed_kernel(const E* table, kvsharer::index_t vocab, int chunks, const std::int32_t* ids,
                 kvsharer::cuda::ragged_batch batch, E* x, kvsharer::cuda::status_word* status) {
  const kvsharer::index_t row = blockIdx.x, width = static_cast<kvsharer::index_t>(chunks) * chunk_size<E>;
  const batch_row at = find_batch_row(batch, row);
  const std::int32_t id = at.sequence >= 0 ? ids[row] : 0;
  const bool known = id >= 0 && id < vocab;
  if (!known && threadIdx.x == 0)
    kvsharer::cuda::report(status, kvsharer::cuda::refusal::bad_token, -1, at.sequence, at.position);
  for (int i = static_cast<int>(threadIdx.x); i < chunks; i += static_cast<int>(blockDim.x)) {
    const kvsharer::index_t column = static_cast<kvsharer::index_t>(i) * chunk_size<E>;
    const numbers<E> from = at.sequence >= 0 && known ? numbers<E>::load(table + id * width + column) : numbers<E>{};
    from.store(x + row * width + column);
  }
}

}  // namespace detail

/// x [rows][hidden] = for every row of the batch, the row of `table` [vocab][hidden] that its id names; ids [rows] are
/// read on the device. Zeros for padding rows and for ids outside the vocabulary, which are reported
/// (refusal::bad_token). Stream-ordered: neither allocates nor synchronises, and may be captured. Throws
/// kvsharer::error (bad_shape, bad_argument, cuda_call).
template <kvsharer::CacheElement E>
void embed(const kvsharer::cuda::backend& on, const E* table, kvsharer::index_t vocab, kvsharer::index_t hidden,
           const std::int32_t* ids, const kvsharer::cuda::ragged_batch& batch, E* x) {
  require_chunks<E>(hidden, "a hidden state");
  require_aligned(table, "the embedding");
  require_aligned(x, "hidden states");
  if (batch.rows == 0) return;
  const auto chunks = static_cast<int>(hidden / chunk_size<E>);
  kvsharer::cuda::detail::launch(
      "the embedding", on.stream,
      {dim3(static_cast<unsigned>(batch.rows)), block_threads(chunks, detail::embed_threads)}, detail::embed_kernel<E>,
      table, vocab, chunks, ids, batch, x, on.status);
}

}  // namespace mini_llama::cuda
