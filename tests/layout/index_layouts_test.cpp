// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdint>
#include <set>
#include <vector>

#include "kvsharer/kvsharer.hpp"

using namespace kvsharer;

namespace {

constexpr cache_shape shape{.layers = 1, .kv_heads = 3, .head_dim = 4, .capacity = 10};

/// Every element of a sequence has a place of its own, inside the pages its block table names.
template <class Layout>
void check_places(const Layout& layout, const std::vector<std::int32_t>& pages) {
  const auto index = layout.index(shape, pages.data());
  const index_t page_elements = shape.kv_heads * shape.head_dim * layout.page_tokens(shape);
  std::set<index_t> places;
  for (index_t h = 0; h < shape.kv_heads; ++h)
    for (index_t t = 0; t < shape.capacity; ++t)
      for (index_t d = 0; d < shape.head_dim; ++d) {
        const index_t at = index.offset(h, t, d);
        CHECK(at == index.offset(h, t, 0) + d);
        CHECK(at / page_elements == pages[static_cast<std::size_t>(t / layout.page_tokens(shape))]);
        places.insert(at);
      }
  CHECK(static_cast<index_t>(places.size()) == shape.kv_heads * shape.capacity * shape.head_dim);
  for (index_t t = 0; t < shape.capacity; ++t) {
    const index_t run = index.run(t, shape.capacity - t);
    CHECK(run >= 1);
    for (index_t k = 0; k < run; ++k)
      CHECK(index.offset(1, t + k, 0) == index.offset(1, t, 0) + k * index.token_stride());
  }
}

}  // namespace

TEST_CASE("contiguous layouts") {
  check_places(layout::head_major{}, {2});
  check_places(layout::token_major{}, {2});
  CHECK(layout::head_major{}.index(shape, std::vector{1}.data()).offset(2, 3, 1) == 120 + 2 * 40 + 3 * 4 + 1);
  CHECK(layout::token_major{}.index(shape, std::vector{1}.data()).offset(2, 3, 1) == 120 + 3 * 12 + 2 * 4 + 1);
}

TEST_CASE("paged layouts, page size fixed when compiling or running") {
  check_places(layout::paged<4>{}, {5, 0, 3});
  check_places(layout::paged<>{4}, {5, 0, 3});
  check_places(layout::paged<1>{}, {9, 8, 7, 6, 5, 4, 3, 2, 1, 0});
  check_places(layout::paged<>{16}, {1});
}

TEST_CASE("offsets do not wrap at 32 bits") {
  const cache_shape large{.layers = 1, .kv_heads = 128, .head_dim = 128, .capacity = 1 << 20};
  const std::vector<std::int32_t> pages{3};
  CHECK(layout::head_major{}.index(large, pages.data()).offset(127, (1 << 20) - 1, 127) ==
        4 * (index_t{128} * 128 << 20) - 1);
  const std::vector<std::int32_t> far(1 << 16, 65535);
  CHECK(layout::paged<16>{}.index(large, far.data()).offset(0, 15, 0) == index_t{65535} * 128 * 16 * 128 + 15 * 128);
}
