// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/adapt/batches.hpp"
#include "kvsharer/adapt/channels.hpp"
#include "kvsharer/adapt/rows.hpp"
#include "kvsharer/backend/cuda/attention/attend.cuh"

using namespace kvsharer;

int main() {
  cudaStream_t stream = nullptr;
  const cuda::backend on{stream, {}, nullptr, 0, nullptr};
  const cache_shape shape{1, 1, 64, 8};
  const float* numbers = nullptr;
  const adapt::side_by_side keys{adapt::flat(numbers, shape)({0}), 0};
#ifdef KVSHARER_EXPECT_FAILURE
  const adapt::side_by_side values{adapt::transposed(adapt::stacked{numbers, 0}, shape)({0}), 0};
#else
  const adapt::side_by_side values{adapt::flat(numbers, shape)({0}), 0};
#endif
  float* out = nullptr;
  cuda::attend<64>(on, {1, 1, 64}, keys, values, {}, numbers, out);
}
