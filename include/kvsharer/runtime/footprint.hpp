// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// Bytes of `tokens` tokens of one sequence in `key_planes` planes of keys and `value_planes` of values: kv_heads *
/// channels * element_bytes per token and plane. Precondition: the product fits 64 bits.
constexpr std::size_t plane_bytes(int key_planes, int value_planes, cache_shape shape, std::size_t element_bytes,
                                  index_t tokens = 1) noexcept {
  const kv_widths w = shape.widths();
  return static_cast<std::size_t>(key_planes * w.keys + value_planes * w.values) *
         static_cast<std::size_t>(shape.kv_heads) * element_bytes * static_cast<std::size_t>(tokens);
}

/// The same for `owner_count` layers that store both. With C readers among L layers the owners are L - C, so sharing
/// saves C / L exactly.
constexpr std::size_t kv_bytes(int owner_count, cache_shape shape, std::size_t element_bytes,
                               index_t tokens = 1) noexcept {
  return plane_bytes(owner_count, owner_count, shape, element_bytes, tokens);
}

/// The same under a plan: P planes of equal width that are shared among L layers save P / (2 L) exactly.
inline std::size_t kv_bytes(const share_plan& plan, cache_shape shape, std::size_t element_bytes,
                            index_t tokens = 1) noexcept {
  return plane_bytes(plan.keys().owner_count(), plan.values().owner_count(), shape, element_bytes, tokens);
}

/// Where a cache's memory went, in bytes. The first five were requested from the allocator; `held` and `logical` are
/// parts of the pools and show how well they are used.
struct cache_footprint {
  std::size_t keys = 0;    ///< pools of keys, used or not
  std::size_t values = 0;  ///< pools of values, used or not
  std::size_t pages = 0;   ///< a pool whose pages take keys or values, where lists of tokens have pages of their own
  std::size_t block_tables = 0;  ///< [sequence][table][block] page numbers
  std::size_t bookkeeping = 0;   ///< free list, reference counts, sequence records, tag

  std::size_t held = 0;     ///< keys and values in pages that some sequence holds
  std::size_t logical = 0;  ///< kv_bytes of all sequences' lengths; more than `held` where forks share pages

  /// All bytes that the cache holds.
  constexpr std::size_t total() const noexcept { return keys + values + pages + block_tables + bookkeeping; }
  friend constexpr bool operator==(const cache_footprint&, const cache_footprint&) = default;
};

}  // namespace kvsharer::inline v0
