// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <vector>

#include "kvsharer/runtime/cache_counters.hpp"
#include "kvsharer/runtime/sequence_id.hpp"

namespace cache_fixtures {

/// What cache_counters should be, counted page by page from the block tables of all sequences that live. The peak is
/// for the caller to know.
template <class Cache>
kvsharer::cache_counters slow_counters(const Cache& cache, const std::vector<kvsharer::sequence_id>& living,
                                       std::size_t token_bytes, kvsharer::index_t peak) {
  using kvsharer::index_t;
  struct use {
    index_t holders = 0, tokens = 0;
  };
  std::map<std::int32_t, use> used;
  const index_t size = cache.page_tokens();
  kvsharer::cache_counters c;
  for (const kvsharer::sequence_id id : living) {
    const index_t length = cache.length(id);
    ++c.sequences;
    c.tokens += length;
    for (index_t begin = 0; begin < length; begin += size) {
      use& u = used[cache.block_table(id)[static_cast<std::size_t>(begin / size)]];
      ++u.holders;
      u.tokens = std::max(u.tokens, std::min(size, length - begin));
    }
  }
  c.pages = cache.pages();
  c.pages_at_peak = peak;
  for (const auto& [page, u] : used) {
    ++c.pages_in_use;
    c.pages_shared += u.holders > 1;
    c.slots_in_use += size;
    c.slots_empty += size - u.tokens;
  }
  c.logical = static_cast<std::size_t>(c.tokens) * token_bytes;
  c.physical = static_cast<std::size_t>(c.slots_in_use) * token_bytes;
  c.peak = static_cast<std::size_t>(peak * size) * token_bytes;
  return c;
}

}  // namespace cache_fixtures
