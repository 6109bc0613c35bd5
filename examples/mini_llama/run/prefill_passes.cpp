// SPDX-License-Identifier: Apache-2.0
#include "run/prefill_passes.hpp"

#include <algorithm>

namespace mini_llama {

using kvsharer::index_t;

std::vector<std::vector<prompt_piece>> prefill_passes(std::span<const index_t> lengths, index_t most_rows) {
  std::vector<std::vector<prompt_piece>> passes;
  index_t room = 0;
  for (std::size_t prompt = 0; prompt < lengths.size(); ++prompt)
    for (index_t first = 0; first < lengths[prompt];) {
      if (room == 0) {
        passes.emplace_back();
        room = most_rows;
      }
      const index_t tokens = std::min(room, lengths[prompt] - first);
      passes.back().push_back({prompt, first, tokens, first + tokens == lengths[prompt]});
      first += tokens;
      room -= tokens;
    }
  return passes;
}

}  // namespace mini_llama
