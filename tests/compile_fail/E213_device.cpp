// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/adapt/batches.hpp"
#include "kvsharer/adapt/rows.hpp"
#include "kvsharer/backend/cuda/attention/attend.cuh"
#include "kvsharer/core/float8.hpp"

using namespace kvsharer;

int main() {
  cudaStream_t stream = nullptr;
  const cuda::backend on{stream, {}, nullptr, 0, nullptr};
  const cache_shape shape{1, 1, 64, 8};
#ifdef KVSHARER_EXPECT_FAILURE
  const float8_e4m3* numbers = nullptr;
#else
  const float16* numbers = nullptr;
#endif
  const adapt::side_by_side rows{adapt::flat(numbers, shape)({0}), 0};
  float16 *queries = nullptr, *out = nullptr;
  cuda::attend(on, {1, 1, 64}, rows, rows, {}, queries, out);
}
