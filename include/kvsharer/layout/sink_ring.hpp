// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/concepts/layouts.hpp"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::layout {

/// The order of a ring buffer with attention sinks (StreamingLLM, arXiv 2309.17453): the token of position p was
/// written to slot p while there was room, and then to slot `sinks + (p - sinks) % (slots - sinks)`, so that the first
/// `sinks` tokens stay and each newer one takes the place of the oldest other. Tokens are numbered by age: first the
/// sinks, then what is left of the rest. A token's number is neither its slot nor its position.
///
/// Make it again whenever `seen`, the number of tokens written so far, has grown. 0 <= sinks < slots.
struct sink_ring {
  index_t sinks = 0;  ///< tokens at the beginning that are never overwritten
  index_t slots = 1;  ///< tokens that the ring holds, sinks included
  index_t seen = 0;   ///< tokens written so far

  /// Tokens that are still there.
  KVSHARER_HD constexpr index_t length() const noexcept { return seen < slots ? seen : slots; }
  /// Tokens that were overwritten.
  KVSHARER_HD constexpr index_t lost() const noexcept { return seen - length(); }
  /// The position that the t-th token had when it was written.
  KVSHARER_HD constexpr index_t position(index_t t) const noexcept { return t < sinks ? t : t + lost(); }

  /// The slot of the t-th token by age.
  KVSHARER_HD constexpr index_t slot(index_t t) const noexcept {
    return t < sinks ? t : sinks + (position(t) - sinks) % (slots - sinks);
  }
  KVSHARER_HD constexpr token_place place(index_t t) const noexcept { return {0, slot(t)}; }
  KVSHARER_HD constexpr index_t run(index_t t, index_t tokens) const noexcept {
    const index_t left = (t < sinks ? sinks : slots) - slot(t);
    return left < tokens ? left : tokens;
  }
};
static_assert(TokenOrder<sink_ring>);

}  // namespace kvsharer::inline v0::layout
