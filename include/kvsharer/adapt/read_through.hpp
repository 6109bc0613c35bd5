// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "kvsharer/adapt/cache.hpp"
#include "kvsharer/adapt/planes.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::adapt {
namespace detail {

template <KVCache C, part Part>
struct mapped_planes {
  const share_map* map;
  const C* stored;

  auto operator()(layer_id l) const {
    const layer_id place{map->slot(l)};
    if constexpr (Part == part::keys)
      return stored->keys(place);
    else
      return stored->values(place);
  }
};

}  // namespace detail

/// A view for all layers of a cache that stores only owners: layer l reads layer map.slot(l) of `stored`. Both are
/// borrowed. A reader gets its owner's rows as attention reads them: if the engine rotates keys in place, they are
/// rotated already, and the reader rotates only its queries. Throws errc::bad_map unless `stored` has one layer for
/// each owner.
template <KVCache C>
auto read_through(const share_map& map, const C& stored) {
  cache_shape s = stored.shape();
  if (s.layers != map.owner_count())
    throw error(errc::bad_map, "a map with " + std::to_string(map.owner_count()) +
                                   " owners cannot be read from a cache that stores " + std::to_string(s.layers) +
                                   " layers");
  s.layers = map.layers();
  return cache<C::space>(s, static_cast<index_t>(stored.length()), detail::mapped_planes<C, part::keys>{&map, &stored},
                         detail::mapped_planes<C, part::values>{&map, &stored});
}
template <KVCache C>
void read_through(const share_map&& map, const C& stored) = delete;  // the map would not live long enough
template <KVCache C>
void read_through(const share_map& map, const C&& stored) = delete;  // nor would the cache

}  // namespace kvsharer::inline v0::adapt
