// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "kvsharer/core/share_map.hpp"
#include "kvsharer/core/types.hpp"
#include "toy_model.hpp"

namespace example {

/// An engine of several sequences that keeps keys and values of all layers in one pool of pages,
/// [page][stored layer][K|V][kv_head][slot][channel], found through one block table per sequence. Under the identity
/// map every layer is stored; under another one only the owners are, packed in layer order, so that a page is smaller.
class paged_engine {
 public:
  static constexpr std::ptrdiff_t page_tokens = 4;

  /// Room for `sequences` sequences of `capacity` tokens.
  paged_engine(const toy_model& model, kvsharer::share_map map, std::ptrdiff_t capacity, std::ptrdiff_t sequences = 1)
      : model_(&model), map_(std::move(map)), capacity_(capacity), sequences_(static_cast<std::size_t>(sequences)) {
    const std::ptrdiff_t pages = sequences * ((capacity + page_tokens - 1) / page_tokens);
    for (std::ptrdiff_t page = 0; page < pages; ++page) free_pages_.push_back(static_cast<std::int32_t>(page));
    pool_.resize(static_cast<std::size_t>(pages * page_elements()));
  }

  /// Appends the tokens to a sequence and returns their final hidden states, [token][width]. Throws std::length_error
  /// when the pool is used up.
  numbers run(std::span<const int> tokens, std::size_t sequence = 0) {
    numbers states;
    for (int token : tokens) {
      grow(sequence);
      numbers stream = model_->embed(token);
      for (int layer = 0; layer < toy_model::layers; ++layer) stream = run_layer(layer, std::move(stream), sequence);
      ++sequences_[sequence].length;
      const numbers state = toy_model::normalised(stream);
      states.insert(states.end(), state.begin(), state.end());
    }
    return states;
  }

  const kvsharer::share_map& map() const { return map_; }
  std::ptrdiff_t capacity() const { return capacity_; }
  std::ptrdiff_t length(std::size_t sequence = 0) const { return sequences_[sequence].length; }
  const std::vector<std::int32_t>& block_table(std::size_t sequence = 0) const { return sequences_[sequence].pages; }
  const numbers& pool() const { return pool_; }
  std::ptrdiff_t page_elements() const { return map_.owner_count() * 2 * plane; }
  std::size_t cache_bytes() const { return pool_.size() * sizeof(float); }
  std::ptrdiff_t rows_projected() const { return rows_projected_; }  ///< keys and values of one token in one layer

 private:
  static constexpr std::ptrdiff_t plane = toy_model::kv_heads * page_tokens * toy_model::head_dim;  // K or V in a page

  struct sequence_state {
    std::vector<std::int32_t> pages;
    std::ptrdiff_t length = 0;
  };

  numbers run_layer(int layer, numbers stream, std::size_t sequence);

  void grow(std::size_t sequence) {
    sequence_state& s = sequences_[sequence];
    if (s.length < static_cast<std::ptrdiff_t>(s.pages.size()) * page_tokens) return;
    if (free_pages_.empty()) throw std::length_error("paged_engine: no free page");
    s.pages.push_back(free_pages_.back());
    free_pages_.pop_back();
  }

  /// Where head_dim numbers begin that `layer` reads: its owner's. kv is 0 for keys and 1 for values.
  std::ptrdiff_t row_start(int layer, int kv, std::size_t sequence, std::ptrdiff_t head, std::ptrdiff_t token) const {
    const std::ptrdiff_t page = sequences_[sequence].pages[static_cast<std::size_t>(token / page_tokens)];
    return page * page_elements() + (map_.slot({layer}) * 2 + kv) * plane +
           (head * page_tokens + token % page_tokens) * toy_model::head_dim;
  }

  void store(int layer, int kv, std::size_t sequence, const numbers& row) {
    for (std::ptrdiff_t head = 0; head < toy_model::kv_heads; ++head)
      std::copy_n(row.begin() + head * toy_model::head_dim, toy_model::head_dim,
                  pool_.begin() + row_start(layer, kv, sequence, head, sequences_[sequence].length));
  }

  const toy_model* model_;
  kvsharer::share_map map_;
  std::ptrdiff_t capacity_;
  std::vector<sequence_state> sequences_;
  std::vector<std::int32_t> free_pages_;
  std::ptrdiff_t rows_projected_ = 0;
  numbers pool_;
};

inline numbers paged_engine::run_layer(int layer, numbers stream, std::size_t sequence) {
  const std::ptrdiff_t position = sequences_[sequence].length;
  const numbers in = toy_model::normalised(stream);
  if (map_.owns({layer})) {  // place one: a reader projects neither keys nor values, and stores nothing
    store(layer, 0, sequence, model_->keys(layer, in, position));
    store(layer, 1, sequence, model_->values(layer, in));
    ++rows_projected_;
  }
  const auto row_of = [&](int kv) {  // place two: row_start() leads to the owner
    return [this, layer, kv, sequence](std::ptrdiff_t head, std::ptrdiff_t token) {
      return pool_.data() + row_start(layer, kv, sequence, head, token);
    };
  };
  const numbers attended = attend(model_->queries(layer, in, position), position + 1, row_of(0), row_of(1));
  return model_->finish_layer(layer, std::move(stream), attended);
}

}  // namespace example
