// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "kvsharer/adapt/cache.hpp"
#include "kvsharer/adapt/planes.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/head_slice_view.hpp"

namespace kvsharer::inline v0::adapt {
namespace detail {

template <KVCache C, part Part>
struct sliced_planes {
  const C* cache;
  index_t first;

  constexpr auto operator()(layer_id l) const {
    if constexpr (Part == part::keys)
      return head_slice_view{cache->keys(l), first};
    else
      return head_slice_view{cache->values(l), first};
  }
};

}  // namespace detail

/// The KV heads [first, first + heads) of a cache, as a cache: the part of one device when heads are divided between
/// devices. `all` is borrowed. (If a device's memory has only its own heads, no slice is needed: kv_heads of the shape
/// is their number.) Throws errc::out_of_range for heads that `all` does not have.
template <KVCache C>
auto local_heads(const C& all, index_t first, index_t heads) {
  cache_shape s = all.shape();
  if (first < 0 || heads < 1 || first + heads > s.kv_heads)
    throw error(errc::out_of_range, "a cache of " + std::to_string(s.kv_heads) + " KV heads does not have " +
                                        std::to_string(heads) + " heads from head " + std::to_string(first) + " on");
  s.kv_heads = heads;
  return cache<C::space>(s, static_cast<index_t>(all.length()), detail::sliced_planes<C, part::keys>{&all, first},
                         detail::sliced_planes<C, part::values>{&all, first});
}
template <KVCache C>
void local_heads(const C&& all, index_t first, index_t heads) = delete;  // `all` would be gone

}  // namespace kvsharer::inline v0::adapt
