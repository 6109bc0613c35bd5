// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kvsharer/kvsharer.hpp"
#include "network/forward.hpp"
#include "run/session.hpp"

namespace mini_llama {

/// Final hidden states of one window under one plan, through a cache that holds that window alone.
class window_run {
 public:
  window_run(const session& s, const kvsharer::cache_plan& plan, kvsharer::index_t window)
      : model_(s.model_for(plan)),
        cache_(plan, {s.identity.layers, s.identity.kv_heads, s.identity.head_dim, window}),
        hidden_(static_cast<std::size_t>(window * s.llama.config().hidden)) {}

  /// [ids][hidden], after the last norm; valid until the next call.
  const float* operator()(std::span<const int> ids) {
    const auto rows = static_cast<kvsharer::index_t>(ids.size());
    cache_.clear();
    const sequence_slice slice{cache_.create(), 0, rows};
    cache_.append(slice.id, rows);
    embed(model_, ids, hidden_.data());
    run_layers(model_, cache_, cache_.sharing(), {&slice, 1}, 0, model_.config().layers, hidden_.data(), workspace_);
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
