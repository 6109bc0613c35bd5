// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <istream>
#include <ostream>
#include <span>
#include <utility>

#include "kvsharer/core/types.hpp"
#include "kvsharer/runtime/sequence_id.hpp"

namespace kvsharer::inline v0 {

/// A span of time that has a name, for a profiler's timeline: from its construction to its end, on one thread.
///
/// Required: Range(const char* name). The name is a literal.
template <class Range>
concept TraceRange = std::constructible_from<Range, const char*> && std::destructible<Range>;

/// A cache, of the host or the device, whose changes each stand in a Range, from call to return or refusal; for the
/// rest it is the cache itself. On the device that is the time of the call, not of the work that it gives to the
/// stream.
template <class Cache, TraceRange Range>
class traced_cache : public Cache {
 public:
  using Cache::Cache;

  /// As the cache does it; so with all that follow, refusals included.
  sequence_id create() {
    const Range range("kvsharer create");
    return Cache::create();
  }
  /// Makes room for one sequence.
  index_t append(sequence_id id, index_t tokens) {
    const Range range("kvsharer append");
    return Cache::append(id, tokens);
  }
  /// Makes room for a batch.
  void append(std::span<const sequence_growth> batch) {
    const Range range("kvsharer append");
    Cache::append(batch);
  }
  /// Fills tokens. Takes what the cache's own does, but nothing in bare braces.
  template <class... Arguments>
  void store(Arguments&&... arguments) {
    const Range range("kvsharer store");
    Cache::store(std::forward<Arguments>(arguments)...);
  }
  /// Keeps the first `length` tokens.
  void truncate(sequence_id id, index_t length) {
    const Range range("kvsharer truncate");
    Cache::truncate(id, length);
  }
  /// A sequence with the same tokens.
  sequence_id fork(sequence_id id) {
    const Range range("kvsharer fork");
    return Cache::fork(id);
  }
  /// Ends a sequence.
  void drop(sequence_id id) {
    const Range range("kvsharer drop");
    Cache::drop(id);
  }
  /// Drops all sequences.
  void clear() {
    const Range range("kvsharer clear");
    Cache::clear();
  }
  // Members of the host's cache alone. The device's are saved and restored by the free functions cuda::save and
  // cuda::restore, which take a traced cache as its base and make no range; call them in a range of your own.

  /// Writes a sequence; of the host's cache.
  void save(sequence_id id, std::ostream& out) const {
    const Range range("kvsharer save");
    Cache::save(id, out);
  }
  /// Reads one; of the host's cache.
  sequence_id restore(std::istream& in) {
    const Range range("kvsharer restore");
    return Cache::restore(in);
  }
};

}  // namespace kvsharer::inline v0
