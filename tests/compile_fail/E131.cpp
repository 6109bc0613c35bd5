// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "kvsharer/core/distance_matrix.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/search/find_share_map.hpp"

using namespace kvsharer;

struct policy {
#ifdef KVSHARER_EXPECT_FAILURE
  std::vector<layer_pair> rank(std::vector<layer_pair> pairs) const { return pairs; }
#else
  std::vector<layer_pair> rank(const distance_matrix&, std::vector<layer_pair> pairs) const { return pairs; }
#endif
};

int main() {
  const auto probe = [](const share_map&) { return 1.0; };
  return find_share_map(distance_matrix(2), policy{}, probe).accepted();
}
