// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "kvsharer/core/types.hpp"
#include "kvsharer/runtime/sequence_id.hpp"

namespace mini_llama {

/// Rows of a ragged batch, concatenated in order: `tokens` rows of a sequence, from slot `first` of the cache on. No
/// sequence may occur twice in a batch.
struct sequence_slice {
  kvsharer::sequence_id id;
  kvsharer::index_t first = 0;
  kvsharer::index_t tokens = 0;
  kvsharer::index_t removed = 0;  ///< next_position minus length of its cache: slots are so many behind positions

  /// Where the first row stands in the text.
  kvsharer::index_t position() const noexcept { return first + removed; }
};

inline kvsharer::index_t count_rows(std::span<const sequence_slice> slices) {
  kvsharer::index_t rows = 0;
  for (const sequence_slice& s : slices) rows += s.tokens;
  return rows;
}

}  // namespace mini_llama
