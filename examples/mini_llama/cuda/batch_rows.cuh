// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/core/types.hpp"

namespace mini_llama::cuda {

/// The sequence and position of a row of a batch. A whole block looks it up at once: its reads are broadcasts.
struct batch_row {
  kvsharer::index_t sequence;  ///< in the batch; -1 for a padding row after the last sequence's rows
  kvsharer::index_t position;  ///< negative for rows in excess of the sequence's length
};

/// O(log sequences).
__device__ inline batch_row find_batch_row(const kvsharer::cuda::ragged_batch& batch, kvsharer::index_t row) {
  kvsharer::index_t b = row;
  if (batch.row_begin != nullptr) {
    kvsharer::index_t end = batch.sequences;  // the first sequence whose rows begin after `row` is in (b, end]
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
