// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "kvsharer/concepts/kv_cache.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/paged_index.hpp"
#include "paged_engine.hpp"

namespace example {

// [adapter]
/// One sequence of a paged_engine as the library reads it. Borrows the engine and copies nothing.
struct paged_engine_cache {
  static constexpr auto space = kvsharer::memory_space::host;
  const paged_engine* engine;
  std::size_t sequence;

  auto plane(int kv, kvsharer::layer_id l) const {  // [page][stored layer][K|V][kv_head][slot][channel]
    const kvsharer::index_t head = paged_engine::page_tokens * toy_model::head_dim;
    const kvsharer::index_t plane = toy_model::kv_heads * head;
    return kvsharer::layer_view{engine->pool().data(),
                                kvsharer::layout::paged_index{.pages = engine->block_table(sequence).data(),
                                                              .page_tokens = paged_engine::page_tokens,
                                                              .page = engine->page_elements(),
                                                              .head = head,
                                                              .token = toy_model::head_dim,
                                                              .base = (engine->map().slot(l) * 2 + kv) * plane}};
  }
  kvsharer::cache_shape shape() const {
    return {toy_model::layers, toy_model::kv_heads, toy_model::head_dim, engine->capacity()};
  }
  kvsharer::index_t length() const { return engine->length(sequence); }
  auto keys(kvsharer::layer_id l) const { return plane(0, l); }
  auto values(kvsharer::layer_id l) const { return plane(1, l); }
};
static_assert(kvsharer::KVCache<paged_engine_cache>);
// [/adapter]

inline paged_engine_cache cache_of(const paged_engine& engine, std::size_t sequence = 0) { return {&engine, sequence}; }

}  // namespace example
