// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/core/types.hpp"

namespace mini_llama::cuda {

/// Whose a row of a batch is, and where it stands. Asked for by a whole block at once: its reads are broadcasts.
struct batch_row {
  kvsharer::index_t sequence;  ///< in the batch; -1 of a row behind the last sequence's, which is nobody's
  kvsharer::index_t position;  ///< negative of rows that the sequence's length leaves no place for
};

/// O(log sequences).
__device__ inline batch_row find_batch_row(const kvsharer::cuda::ragged_batch& batch, kvsharer::index_t row) {
  kvsharer::index_t b = row;
  if (batch.row_begin != nullptr) {
    kvsharer::index_t end = batch.sequences;  // the first whose rows begin behind `row` is in (b, end]
    b = 0;
    if (row >= batch.row_begin[end]) return {-1, -1};
    while (b + 1 < end) {
      const kvsharer::index_t middle = (b + end) / 2;
      (batch.row_begin[middle] <= row ? b : end) = middle;
    }
  }
  return {b, batch.position(b, row - batch.first_row(b))};
}

}  // namespace mini_llama::cuda
