// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/runtime/shared_cache.hpp"

using namespace kvsharer;

struct rows {
#ifdef KVSHARER_EXPECT_FAILURE
  int offset(index_t, index_t, index_t) const { return 0; }
#else
  index_t offset(index_t, index_t token, index_t) const { return token; }
#endif
  static constexpr bool rows_contiguous = false;
};

struct one_column {
  index_t page_tokens(cache_shape s) const { return s.capacity; }
  rows index(cache_shape, const std::int32_t*) const { return {}; }
  const char* name() const { return "one head, one channel"; }
};

int main() { shared_cache<float, one_column> cache(share_map::identity(2), {2, 1, 1, 8}); }
