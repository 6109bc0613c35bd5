// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/backend/cpu/attention.hpp"
#include "kvsharer/core/types.hpp"

using namespace kvsharer;

struct view {
  using value_type = float;
#ifdef KVSHARER_EXPECT_FAILURE
  float at(index_t, index_t) const { return 0; }
#else
  float at(index_t, index_t, index_t) const { return 0; }
#endif
};

int main() {
  float row[1] = {1};
  cpu::attend({.heads = 1, .kv_heads = 1, .head_dim = 1}, view{}, view{}, 0, 1, row, row);
}
