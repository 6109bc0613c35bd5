// SPDX-License-Identifier: Apache-2.0
// Uses the component cuda; answers 0 when it works, or when there is no device and the library says so.
#include <kvsharer/cuda.cuh>

#include <cstdio>

int main() {
  using namespace kvsharer;
  try {
    const cuda::device_properties device = cuda::query_device();
    cudaStream_t stream = nullptr;
    cuda::shared_cache<float16> cache(share_map::identity(2), {2, 1, 64, 8}, {.max_sequences = 1}, stream);
    const sequence_id id = cache.create();
    const sequence_growth grown[] = {{id, 3}};
    cache.append(grown);
    return device.multiprocessors > 0 && cache.length(id) == 3 ? 0 : 1;
  } catch (const error& e) {
    std::puts(e.what());
    return e.code() == errc::no_device ? 0 : 1;
  }
}
