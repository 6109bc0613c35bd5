// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/strided_index.hpp"
#include "kvsharer/runtime/shared_cache.hpp"

using namespace kvsharer;

struct one_column {
#ifndef KVSHARER_EXPECT_FAILURE
  index_t page_tokens(cache_shape s) const { return s.capacity; }
#endif
  layout::strided_index index(cache_shape s, const std::int32_t*) const { return {s.capacity, 1, 0}; }
  const char* name() const { return "one head, one channel"; }
};

int main() { shared_cache<float, one_column> cache(share_map::identity(2), {2, 1, 1, 8}); }
