// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/search/best_first.hpp"

using namespace kvsharer;

int main() {
#ifdef KVSHARER_EXPECT_FAILURE
  const auto probe = [](const share_map& map) { return 1.0 - map.reader_count(); };
#else
  const auto probe = [](const share_plan& plan) { return 1.0 - plan.shared_planes(); };
#endif
  return find_best_share_plan(2, probe).accepted();
}
