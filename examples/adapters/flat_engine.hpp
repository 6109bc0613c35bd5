// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"
#include "toy_model.hpp"

namespace example {

/// An engine of one sequence that keeps its keys in one flat buffer and its values in another, both
/// [stored layer][token][kv_head][channel]. Under the identity map every layer is stored; under another one only the
/// owners are, packed in layer order.
class flat_engine {
 public:
  flat_engine(const toy_model& model, kvsharer::share_map map, std::ptrdiff_t capacity)
      : model_(&model),
        map_(std::move(map)),
        capacity_(capacity),
        keys_(static_cast<std::size_t>(map_.owner_count() * plane())),
        values_(keys_.size()) {}

  /// Appends the tokens and returns their final hidden states, [token][width]. Precondition: they fit the capacity.
  numbers run(std::span<const int> tokens) {
    numbers states;
    for (int token : tokens) {
      numbers stream = model_->embed(token);
      for (int layer = 0; layer < toy_model::layers; ++layer) stream = run_layer(layer, std::move(stream));
      ++length_;
      const numbers state = toy_model::normalised(stream);
      states.insert(states.end(), state.begin(), state.end());
    }
    return states;
  }

  const kvsharer::share_map& map() const { return map_; }
  std::ptrdiff_t capacity() const { return capacity_; }
  std::ptrdiff_t length() const { return length_; }
  const numbers& key_buffer() const { return keys_; }
  const numbers& value_buffer() const { return values_; }
  std::size_t cache_bytes() const { return (keys_.size() + values_.size()) * sizeof(float); }
  std::ptrdiff_t rows_projected() const { return rows_projected_; }  ///< keys and values of one token in one layer

 private:
  static constexpr std::ptrdiff_t row = toy_model::kv_heads * toy_model::head_dim;

  numbers run_layer(int layer, numbers stream);

  std::ptrdiff_t plane() const { return capacity_ * row; }

  /// Where the row of a token begins that `layer` reads: its owner's.
  std::ptrdiff_t row_start(int layer, std::ptrdiff_t token) const { return map_.slot({layer}) * plane() + token * row; }

  const toy_model* model_;
  kvsharer::share_map map_;
  std::ptrdiff_t capacity_;
  std::ptrdiff_t length_ = 0;
  std::ptrdiff_t rows_projected_ = 0;
  numbers keys_;
  numbers values_;
};

// [layer]
inline numbers flat_engine::run_layer(int layer, numbers stream) {
  const numbers in = toy_model::normalised(stream);
  if (map_.owns({layer})) {  // place one: a reader projects neither keys nor values, and stores nothing
    std::ranges::copy(model_->keys(layer, in, length_), keys_.begin() + row_start(layer, length_));
    std::ranges::copy(model_->values(layer, in), values_.begin() + row_start(layer, length_));
    ++rows_projected_;
  }
  const auto key = [&](std::ptrdiff_t head, std::ptrdiff_t token) {  // place two: row_start() leads to the owner
    return keys_.data() + row_start(layer, token) + head * toy_model::head_dim;
  };
  const auto value = [&](std::ptrdiff_t head, std::ptrdiff_t token) {
    return values_.data() + row_start(layer, token) + head * toy_model::head_dim;
  };
  const numbers attended = attend(model_->queries(layer, in, length_), length_ + 1, key, value);
  return model_->finish_layer(layer, std::move(stream), attended);
}
// [/layer]

}  // namespace example
