// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "kvsharer/adapt/planes.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/reordered_index.hpp"
#include "kvsharer/layout/sink_ring.hpp"
#include "kvsharer/layout/strided_index.hpp"

namespace kvsharer::inline v0::adapt {

/// [slot][kv_head][channel] of each layer, a ring of `ring.slots` slots with attention sinks. The view orders tokens by
/// age. The cache's length is `ring.length()`. Throws errc::bad_argument unless 0 <= sinks < slots and seen >= 0.
template <class Layers>
auto ring_rows(Layers layers, cache_shape s, layout::sink_ring ring) {
  if (ring.sinks < 0 || ring.sinks >= ring.slots || ring.seen < 0)
    throw error(errc::bad_argument, "a ring of " + std::to_string(ring.slots) + " slots with " +
                                        std::to_string(ring.sinks) + " sinks that has seen " +
                                        std::to_string(ring.seen) +
                                        " tokens is invalid; slots must be more than sinks, and no number negative");
  return planes{layers, layout::reordered_index{
                            ring, layout::strided_index{.head = s.head_dim, .token = s.kv_heads * s.head_dim}}};
}

}  // namespace kvsharer::inline v0::adapt
