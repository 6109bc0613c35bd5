// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/policy/similar_first.hpp"
#include "kvsharer/search/find_share_map.hpp"

using namespace kvsharer;

int main() {
#ifdef KVSHARER_EXPECT_FAILURE
  const auto probe = [](int readers) { return 1.0 - readers; };
#else
  const auto probe = [](const share_map& map) { return 1.0 - map.reader_count(); };
#endif
  return find_share_map(distance_matrix(2), policy::similar_first{}, probe).accepted();
}
