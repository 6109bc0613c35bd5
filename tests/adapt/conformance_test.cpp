// SPDX-License-Identifier: Apache-2.0
// The library's own cache kept in the memory orders of the adapters: what holds for every cache holds here.
#include "kvsharer/layout/page_table.hpp"
#include "kvsharer/layout/reordered_index.hpp"
#include "kvsharer/layout/strided_index.hpp"
#include "kvsharer/layout/tiled_index.hpp"
#include "runtime/cache_fixtures.hpp"

namespace {

using namespace kvsharer;

/// Pages of four tokens, [page][kv_head][channel / Tile][token][channel % Tile].
template <index_t Tile>
struct tiled_pages {
  index_t page_tokens(cache_shape) const { return 4; }
  auto index(cache_shape s, const std::int32_t* pages) const {
    const index_t head = 4 * s.head_dim;
    return layout::reordered_index{layout::page_table{pages, 4, s.kv_heads * head},
                                   layout::tiled_index{.tile = Tile, .block = 4 * Tile, .head = head, .token = Tile}};
  }
  const char* name() const { return "tiled pages"; }
};
/// Pages of four tokens, [page][token][kv_head][channel].
struct token_pages {
  index_t page_tokens(cache_shape) const { return 4; }
  auto index(cache_shape s, const std::int32_t* pages) const {
    const index_t row = s.kv_heads * s.head_dim;
    return layout::reordered_index{layout::page_table{pages, 4, 4 * row},
                                   layout::strided_index{.head = s.head_dim, .token = row}};
  }
  const char* name() const { return "token pages"; }
};
static_assert(CacheLayout<tiled_pages<1>> && CacheLayout<token_pages>);

}  // namespace

#define CACHES                                                                                               \
  cache_fixtures::combination<float, tiled_pages<4>>, cache_fixtures::combination<bfloat16, tiled_pages<1>>, \
      cache_fixtures::combination<float16, token_pages>
#include "runtime/conformance.hpp"
