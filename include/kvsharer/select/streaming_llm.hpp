// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/select/kept_anyway.hpp"

namespace kvsharer::inline v0::select {

/// StreamingLLM (arXiv 2309.17453): the first tokens of the text and the newest ones. It asks for no score, so all
/// heads and layers keep the same. It does not know the question.
struct streaming_llm {
  index_t sinks = 4;  ///< first tokens of the text

  /// The slots that a list of `slots` tokens keeps before `incoming` more are appended, so that it then has at most
  /// `count`: the sinks, and the newest. All, if there is room. The paper makes room before a new token, so that it
  /// attends to `count` tokens with itself. If more come in than are recent, the sinks alone are left. `positions`
  /// [slots] say which tokens are sinks: those that stand at the first positions. Throws errc::bad_argument for a count
  /// that leaves no token beside the sinks, or negative numbers, and errc::bad_shape for another number of positions.
  /// O(slots).
  std::vector<index_t> kept(index_t slots, index_t count, index_t incoming = 0,
                            std::span<const index_t> positions = no_holes) const {
    if (slots < 0 || incoming < 0 || sinks < 0 || count <= sinks)
      throw error(errc::bad_argument, "streaming_llm with " + std::to_string(sinks) + " sinks in " +
                                          std::to_string(count) + " of " + std::to_string(slots) + " tokens, before " +
                                          std::to_string(incoming) + " more; keep more tokens than sinks");
    if (slots + incoming <= count) return slots_kept_anyway({.recent = slots}, slots, positions);
    return slots_kept_anyway({.sinks = sinks, .recent = std::max<index_t>(0, count - sinks - incoming)}, slots,
                             positions);
  }
};

/// By how many positions the rows that a list keeps must be turned so that they stand at 0, 1, 2, ... as the paper
/// numbers them: never forwards. `at` [kept slots, or more] are the positions to which the kept rows are turned now,
/// ascending. The next token then stands at as many as are kept. Rows that are left as they are keep their true
/// positions; then the next token stands where the text goes on, and nothing is turned. O(tokens).
inline std::vector<index_t> turns_to_slots(std::span<const index_t> at) {
  std::vector<index_t> turns(at.size());
  for (std::size_t s = 0; s < at.size(); ++s) turns[s] = static_cast<index_t>(s) - at[s];
  return turns;
}

}  // namespace kvsharer::inline v0::select
