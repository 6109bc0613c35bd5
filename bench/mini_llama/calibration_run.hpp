// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "network/forward.hpp"
#include "network/model.hpp"
#include "probe/calibration_store.hpp"

namespace mini_llama_bench {

/// The calibration forward by itself: `samples` sequences of `tokens` tokens as one batch through all layers and the
/// last norm, keys and values stored; no head.
class calibration_run {
 public:
  calibration_run(const mini_llama::model& m, int samples, kvsharer::index_t tokens)
      : model_(m),
        tokens_(tokens),
        map_(kvsharer::share_map::identity(m.config().layers)),
        store_(m.config().layers, samples, tokens, m.config().kv_heads, m.config().head_dim),
        x_(static_cast<std::size_t>(samples * tokens * m.config().hidden)) {
    for (int s = 0; s < samples; ++s) slices_.push_back({{s}, 0, tokens});
    for (kvsharer::index_t i = 0; i < samples * tokens; ++i)
      ids_.push_back(static_cast<int>(i * 7919 % m.config().vocab));
  }

  void operator()() {
    store_.begin_candidate({0});
    mini_llama::embed(model_, ids_, x_.data());
    mini_llama::run_layers(model_, store_, map_, slices_, 0, model_.config().layers, x_.data(), workspace_);
    mini_llama::final_norm(model_, x_.data(), rows(), x_.data());
  }

  kvsharer::index_t rows() const { return static_cast<kvsharer::index_t>(ids_.size()); }

  /// What has to be computed, a multiply-add counted as two: the seven products of each layer, and of attention the
  /// scores and sums of the tokens that a query sees. Norms, rotations and activations are not counted.
  double operations() const {
    const mini_llama::model_config& c = model_.config();
    const double hidden = c.hidden, queries = c.heads * c.head_dim, keys = c.kv_heads * c.head_dim;
    const double weights = 2 * hidden * queries + 2 * hidden * keys + 3 * hidden * c.intermediate;
    const double seen = static_cast<double>(tokens_ + 1) / 2;  // on average
    return static_cast<double>(rows()) * c.layers * (2 * weights + 4 * queries * seen);
  }

 private:
  const mini_llama::model& model_;
  kvsharer::index_t tokens_;
  kvsharer::share_map map_;
  mini_llama::calibration_store store_;
  std::vector<mini_llama::sequence_slice> slices_;
  std::vector<int> ids_;
  std::vector<float> x_;
  mini_llama::workspace workspace_;
};

}  // namespace mini_llama_bench
