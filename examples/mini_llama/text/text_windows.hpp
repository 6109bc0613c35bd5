// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "kvsharer/core/types.hpp"

namespace mini_llama {

/// One piece of a text: what the model is given, and the token that follows each of its positions.
struct text_window {
  std::size_t begin;             ///< of `targets` in the text
  std::span<const int> input;    ///< BOS, or the token before the piece, and all targets but the last
  std::span<const int> targets;  ///< as many as inputs
};

/// f(text_window) for the pieces of `ids`, of `window` - 1 targets each, until `cancelled` answers yes. A model without
/// BOS (-1) cannot predict the first token.
template <class Cancelled, class F>
void for_each_window(std::span<const int> ids, kvsharer::index_t window, int bos, const Cancelled& cancelled, F&& f) {
  const auto step = static_cast<std::size_t>(window - 1);
  std::vector<int> input;
  for (std::size_t begin = bos >= 0 ? 0 : 1; begin < ids.size() && !(cancelled && cancelled()); begin += step) {
    const std::span<const int> targets = ids.subspan(begin, std::min(step, ids.size() - begin));
    input.assign(1, bos >= 0 ? bos : ids[begin - 1]);
    input.insert(input.end(), targets.begin(), targets.end() - 1);
    f(text_window{begin, input, targets});
  }
}

}  // namespace mini_llama
