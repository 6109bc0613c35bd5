// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "kvsharer/core/types.hpp"
#include "network/linear.hpp"
#include "network/model.hpp"

/// The driver's model in the terms of a flat engine: Hparams, Weights and Layer are of flat:: or flat_shared::.
template <class Hparams, class Weights, class Layer>
class flat_weights {
 public:
  explicit flat_weights(const mini_llama::model& m, int context) : config_(m.config()), context_(context) {
    for (int l = 0; l < config_.layers; ++l) {
      const mini_llama::layer_weights& from = m.layer(l);
      layers_.push_back({from.attention_norm.data(), floats(from.query), floats(from.key), floats(from.value),
                         floats(from.output), from.mlp_norm.data(), floats(from.gate), floats(from.up),
                         floats(from.down)});
    }
    weights_ = {floats(m.embedding()), m.final_norm().data(), floats(m.head()), layers_.data()};
  }
  flat_weights(const flat_weights&) = delete;

  Hparams hparams() const {
    return {config_.layers,
            config_.hidden,
            config_.heads,
            config_.kv_heads,
            config_.head_dim,
            config_.intermediate,
            static_cast<int>(config_.vocab),
            context_,
            config_.norm_eps,
            10000.0f};
  }
  const Weights& weights() const { return weights_; }

 private:
  const float* floats(const mini_llama::weight& w) {
    std::vector<float>& x = matrices_.emplace_back(static_cast<std::size_t>(w.out * w.in));
    for (kvsharer::index_t row = 0; row < w.out; ++row) mini_llama::decode_row(w, row, x.data() + row * w.in);
    return x.data();
  }

  const mini_llama::model_config& config_;
  int context_;
  std::vector<std::vector<float>> matrices_;
  std::vector<Layer> layers_;
  Weights weights_{};
};
