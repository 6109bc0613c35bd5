// SPDX-License-Identifier: Apache-2.0
// Uses what needs no third party; answers 0 when it works.
#include <kvsharer/kvsharer.hpp>

int main() {
  const auto map = kvsharer::share_map::identity(4).with({{3}, {1}}).value();
  kvsharer::shared_cache<kvsharer::bfloat16, kvsharer::layout::paged<16>> cache(map, {4, 2, 8, 64});
  const kvsharer::sequence_id id = cache.create();
  cache.append(id, 5);
  return map.owner_count() == 3 && cache.length(id) == 5 && KVSHARER_VERSION_MAJOR == 0 ? 0 : 1;
}
