// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/backend/cuda/shared_cache.cuh"

using namespace kvsharer;

struct heap {
  void* allocate(cuda::stream_ref, std::size_t) { return nullptr; }
#ifndef KVSHARER_EXPECT_FAILURE
  void deallocate(cuda::stream_ref, void*, std::size_t) {}
#endif
};

int main() {
  cudaStream_t stream = nullptr;
  cuda::shared_cache<float, layout::paged<16>, heap> cache(share_map::identity(2), {2, 1, 16, 8}, {}, stream);
}
