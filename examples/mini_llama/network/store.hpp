// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <span>

#include "kvsharer/backend/cpu/attention.hpp"
#include "kvsharer/backend/cpu/parallel.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/attention_shape.hpp"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "network/sequence_slice.hpp"
#include "network/workspace.hpp"

namespace mini_llama {

/// Where a run keeps keys and values; kvsharer::shared_cache is one. Layers are asked for by their owner; of what a
/// layer does not own there are no rows to store (null). Once a store to a layer has returned, stores of other
/// sequences to it may run at the same time.
template <class S>
concept KVStore = requires(S s, kvsharer::layer_id l, kvsharer::sequence_id id, kvsharer::index_t i, const float* x) {
  s.store(l, id, i, i, x, x);
  { s.keys(l, id) } -> kvsharer::LayerView;
  { s.values(l, id) } -> kvsharer::LayerView;
};

/// What a decoder layer asks of a store, for rows of many sequences at once. Of a layer, only this is compiled for
/// every type of store.
class layer_store {
 public:
  /// Stores the keys and values of all rows, [rows][width] each, or null.
  virtual void store(kvsharer::layer_id l, std::span<const sequence_slice> slices, kvsharer::index_t width,
                     const float* keys, const float* values, workspace& w) = 0;

  /// attended [rows][heads * head_dim] = attention of the queries over the keys and values that layer `l` reads under
  /// `plan`, in parallel over sequences, KV heads and parts of long contexts.
  virtual void attend(const kvsharer::share_plan& plan, kvsharer::layer_id l, std::span<const sequence_slice> slices,
                      const kvsharer::attention_shape& shape, const float* queries, float* attended,
                      workspace& w) const = 0;

 protected:
  ~layer_store() = default;
};

/// A KVStore seen as a layer_store. Borrows it.
template <KVStore Store>
class stored_in final : public layer_store {
 public:
  explicit stored_in(Store& store) : store_(store) {}

  void store(kvsharer::layer_id l, std::span<const sequence_slice> slices, kvsharer::index_t width, const float* keys,
             const float* values, workspace& w) override {
    const auto count = static_cast<kvsharer::index_t>(slices.size());
    const auto one = [&](kvsharer::index_t i) {
      const sequence_slice& s = slices[static_cast<std::size_t>(i)];
      const kvsharer::index_t row = w.first_rows[static_cast<std::size_t>(i)] * width;
      store_.store(l, s.id, s.first, s.tokens, keys ? keys + row : nullptr, values ? values + row : nullptr);
    };
    one(0);
    constexpr kvsharer::index_t worthwhile = 1 << 14;  // numbers a thread should copy, at least
    if (count_rows(slices) * width < worthwhile * 2) {
      for (kvsharer::index_t i = 1; i < count; ++i) one(i);
    } else {
      kvsharer::cpu::parallel_for(count - 1, [&](kvsharer::index_t i) { one(i + 1); });
    }
  }

  void attend(const kvsharer::share_plan& plan, kvsharer::layer_id l, std::span<const sequence_slice> slices,
              const kvsharer::attention_shape& shape, const float* queries, float* attended,
              workspace& w) const override {
    w.asking.clear();
    for (std::size_t i = 0; i < slices.size(); ++i)
      w.asking.push_back({.first = slices[i].first, .rows = slices[i].tokens, .begin = w.first_rows[i]});
    const auto id = [&](kvsharer::index_t i) { return slices[static_cast<std::size_t>(i)].id; };
    kvsharer::cpu::attend(
        shape, w.asking, [&](kvsharer::index_t i) { return store_.keys(plan.key_owner(l), id(i)); },
        [&](kvsharer::index_t i) { return store_.values(plan.value_owner(l), id(i)); }, queries, attended, w.attention);
  }

 private:
  Store& store_;
};

}  // namespace mini_llama
