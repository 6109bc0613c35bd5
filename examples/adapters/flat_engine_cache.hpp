// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "flat_engine.hpp"
#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/strided_index.hpp"

namespace example {

// [adapter]
/// The cache of a flat_engine as the library reads it. Borrows the engine and copies nothing.
struct flat_engine_cache {
  static constexpr auto space = kvsharer::memory_space::host;
  const flat_engine* engine;

  auto plane(const numbers& buffer, kvsharer::layer_id l) const {  // [stored layer][token][kv_head][channel]
    const kvsharer::index_t token = toy_model::kv_heads * toy_model::head_dim;
    const kvsharer::index_t layer = engine->capacity() * token;
    return kvsharer::layer_view{buffer.data() + engine->map().slot(l) * layer,
                                kvsharer::layout::strided_index{.head = toy_model::head_dim, .token = token}};
  }
  kvsharer::cache_shape shape() const {
    return {toy_model::layers, toy_model::kv_heads, toy_model::head_dim, engine->capacity()};
  }
  kvsharer::index_t length() const { return engine->length(); }
  auto keys(kvsharer::layer_id l) const { return plane(engine->key_buffer(), l); }
  auto values(kvsharer::layer_id l) const { return plane(engine->value_buffer(), l); }
};
static_assert(kvsharer::KVCache<flat_engine_cache>);
// [/adapter]

inline flat_engine_cache cache_of(const flat_engine& engine) { return {&engine}; }

}  // namespace example
