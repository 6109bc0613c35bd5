// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kvsharer/core/types.hpp"

namespace mini_llama {

/// Consecutive tokens of one prompt that run together.
struct prompt_piece {
  std::size_t prompt = 0;
  kvsharer::index_t first = 0;
  kvsharer::index_t tokens = 0;
  bool ends = false;  ///< these are the prompt's last ones
  friend bool operator==(const prompt_piece&, const prompt_piece&) = default;
};

/// Cuts prompts of these lengths into passes of at most `most_rows` tokens, which run one after the other: every pass
/// as full as it can be, prompts in order. Memory of activations is then that of a pass, however long prompts are.
/// Precondition: most_rows >= 1.
std::vector<std::vector<prompt_piece>> prefill_passes(std::span<const kvsharer::index_t> lengths,
                                                      kvsharer::index_t most_rows);

}  // namespace mini_llama
