// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/runtime/shared_cache.hpp"

using namespace kvsharer;

#ifdef KVSHARER_EXPECT_FAILURE
using element = double;
#else
using element = float;
#endif

int main() { shared_cache<element> cache(share_map::identity(2), {2, 1, 1, 8}); }
