// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "forward.hpp"
#include "kvsharer/kvsharer.hpp"
#include "session.hpp"

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

/// Final hidden states of one window under one map, through a cache that holds that window alone.
class window_run {
 public:
  window_run(const session& s, const kvsharer::share_map& map, kvsharer::index_t window)
      : model_(s.llama),
        cache_(map, {s.identity.layers, s.identity.kv_heads, s.identity.head_dim, window}),
        hidden_(static_cast<std::size_t>(window * s.llama.config().hidden)) {}

  /// [ids][hidden], after the last norm; valid until the next call.
  const float* operator()(std::span<const int> ids) {
    const auto rows = static_cast<kvsharer::index_t>(ids.size());
    cache_.clear();
    const sequence_slice slice{cache_.create(), 0, rows};
    cache_.append(slice.id, rows);
    embed(model_, ids, hidden_.data());
    run_layers(model_, cache_, cache_.map(), {&slice, 1}, 0, model_.config().layers, hidden_.data(), workspace_);
    final_norm(model_, hidden_.data(), rows, hidden_.data());
    return hidden_.data();
  }

 private:
  const model& model_;
  kvsharer::shared_cache<> cache_;
  std::vector<float> hidden_;
  workspace workspace_;
};

}  // namespace mini_llama
