// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/backend/cuda/cache/word_table.cuh"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/runtime/sequence_id.hpp"

namespace kvsharer::inline v0::cuda {

/// The sequences of a cache that a launch works on, in device memory: makes the ragged_batch of a list of sequences.
/// The memory stays where it is, so a captured graph can run on other sequences, if their number is the captured one.
template <MemoryResource Resource = pool_resource>
class sequence_batch {
 public:
  /// Room for `max_sequences` sequences, in memory of `resource`. Throws what the resource throws.
  explicit sequence_batch(stream_ref stream, index_t max_sequences, Resource resource = {})
      : capacity_(max_sequences),
        words_(stream, static_cast<std::size_t>(2 * max_sequences + 1), std::move(resource)) {}

  /// Sets, in stream order, the sequences and how many of their newest tokens the launch works on; these have been
  /// appended to `cache`. Throws errc::bad_argument for more sequences than there is room for, or negative tokens.
  template <class Cache>
  void assign(const Cache& cache, std::span<const sequence_growth> newest) {
    const auto count = static_cast<index_t>(newest.size());
    if (count > capacity_)
      throw error(errc::bad_argument,
                  std::to_string(count) + " sequences do not fit a batch made for " + std::to_string(capacity_));
    ragged_batch made{.sequences = count};
    made.max_rows = 1;
    for (index_t b = 0; b < count; ++b) {
      const sequence_growth& g = newest[static_cast<std::size_t>(b)];
      if (g.tokens < 0 || g.tokens > cache.length(g.id))
        throw error(errc::bad_argument, "sequence " + std::to_string(g.id.value) + " of " +
                                            std::to_string(cache.length(g.id)) + " tokens has no newest " +
                                            std::to_string(g.tokens));
      words_.set(b, cache.place(g.id));
      words_.set(capacity_ + b, made.rows);
      made.rows += g.tokens;
      made.max_rows = std::max(made.max_rows, g.tokens);
    }
    words_.set(capacity_ + count, made.rows);
    words_.flush();
    made.lengths = cache.device_lengths();
    made.positions = cache.device_positions();
    made.places = words_.data();
    made.row_begin = words_.data() + capacity_;
    batch_ = made;
  }

  /// Valid while this object lives; follows `assign` calls that keep `sequences` and `max_rows`.
  const ragged_batch& batch() const noexcept { return batch_; }

 private:
  index_t capacity_;
  detail::word_table<Resource> words_;  // places [capacity], then row_begin [capacity + 1]
  ragged_batch batch_;
};

}  // namespace kvsharer::inline v0::cuda
