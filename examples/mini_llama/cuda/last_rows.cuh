// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include "cuda/chunk.cuh"
#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

namespace mini_llama::cuda {
namespace detail {

inline constexpr unsigned last_rows_threads = 256;

/// Grid: sequences.
template <class E>
KVSHARER_HIDDEN __global__ void __launch_bounds__(last_rows_threads)
    last_rows_kernel(const E* x, int chunks, kvsharer::cuda::ragged_batch batch, E* out) {
  const kvsharer::index_t b = blockIdx.x, rows = batch.rows_of(b), last = batch.first_row(b) + rows - 1;
  const kvsharer::index_t width = static_cast<kvsharer::index_t>(chunks) * chunk_size<E>;
  for (int i = static_cast<int>(threadIdx.x); i < chunks; i += static_cast<int>(blockDim.x)) {
    const kvsharer::index_t column = static_cast<kvsharer::index_t>(i) * chunk_size<E>;
    const numbers<E> from = rows > 0 ? numbers<E>::load(x + last * width + column) : numbers<E>{};
    from.store(out + b * width + column);
  }
}

}  // namespace detail

/// out [sequences][width] = the last row of each sequence in x [rows][width]; zeros if it has none. Out may not be x.
/// Stream-ordered: neither allocates nor synchronises, and may be captured. Throws kvsharer::error (bad_shape,
/// bad_argument, cuda_call).
template <kvsharer::CacheElement E>
void gather_last_rows(const kvsharer::cuda::backend& on, const E* x, kvsharer::index_t width,
                      const kvsharer::cuda::ragged_batch& batch, E* out) {
  require_chunks<E>(width, "a row");
  require_aligned(x, "rows");
  require_aligned(out, "last rows");
  if (batch.sequences == 0) return;
  const auto chunks = static_cast<int>(width / chunk_size<E>);
  kvsharer::cuda::detail::launch(
      "the choice of last rows", on.stream,
      {dim3(static_cast<unsigned>(batch.sequences)), block_threads(chunks, detail::last_rows_threads)},
      detail::last_rows_kernel<E>, x, chunks, batch, out);
}

}  // namespace mini_llama::cuda
