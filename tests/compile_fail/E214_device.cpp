// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/backend/cuda/shared_cache.cuh"

using namespace kvsharer;

/// The index of paged<16>, which tells of runs of tokens only where the test wants no error.
struct bare_index {
  layout::paged_index index;
  static constexpr bool rows_contiguous = true;
  KVSHARER_HD index_t offset(index_t h, index_t t, index_t c) const { return index.offset(h, t, c); }
#ifndef KVSHARER_EXPECT_FAILURE
  KVSHARER_HD index_t token_stride() const { return index.token_stride(); }
  KVSHARER_HD index_t run(index_t t, index_t tokens) const { return index.run(t, tokens); }
#endif
};
struct pages {
  KVSHARER_HD index_t page_tokens(cache_shape) const { return 16; }
  KVSHARER_HD bare_index index(cache_shape s, const std::int32_t* table) const {
    return {layout::paged<16>{}.index(s, table)};
  }
  const char* name() const { return "bare pages"; }
};

int main() {
  cudaStream_t stream = nullptr;
  cuda::shared_cache<float, pages> cache(share_map::identity(2), {2, 1, 16, 8}, {}, stream);
}
