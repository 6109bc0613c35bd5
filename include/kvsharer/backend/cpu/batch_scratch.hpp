// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "kvsharer/backend/cpu/attention_scratch.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu {

/// The query rows of one sequence among those of a batch.
struct query_rows {
  index_t first = 0;  ///< slot of the first row in the sequence
  index_t rows = 0;   ///< 1 in decode
  index_t begin = 0;  ///< place of the first row in the batch's queries and results
};

/// Memory that `attend` of a batch keeps between calls. Calls that run at the same time need one each.
struct batch_scratch {
  std::vector<attention_scratch> pieces;  ///< one for each piece of work that may run at the same time
  std::vector<index_t> first_piece;       ///< of each sequence's KV heads, and their number
};

}  // namespace kvsharer::inline v0::cpu
