// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/layout/page_strides.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/paged.hpp"

using namespace kvsharer;

namespace {

constexpr cache_shape shape{1, 3, 4, 22};

/// The rows that a layout's strides lead to are those that the layout leads to.
template <class Layout>
void check_same_offsets(const Layout& order, std::vector<std::int32_t> table) {
  const layout::page_strides s = layout::strides_of(order, shape);
  CHECK(s.page_tokens == order.page_tokens(shape));
  const layout::page_index mine = layout::index_of(s, table.data(), s.page);
  const auto own = order.index(shape, table.data());
  std::size_t apart = 0;
  for (index_t t = 0; t < shape.capacity; ++t) {
    for (index_t h = 0; h < shape.kv_heads; ++h) apart += mine.offset(h, t, 2) != own.offset(h, t, 2);
    apart += mine.run(t, shape.capacity - t) != own.run(t, shape.capacity - t);
  }
  CHECK(apart == 0);
  CHECK(mine.token_stride() == own.token_stride());
}

/// Heads that lie in another order.
struct swapped_heads {
  struct index_type {
    static constexpr bool rows_contiguous = true;
    index_t offset(index_t h, index_t t, index_t c) const { return ((h ^ 1) * 22 + t) * 4 + c; }
    index_t token_stride() const { return 4; }
    index_t run(index_t, index_t tokens) const { return tokens; }
  };
  index_t page_tokens(cache_shape s) const { return s.capacity; }
  index_type index(cache_shape, const std::int32_t*) const { return {}; }
  const char* name() const { return "swapped heads"; }
};

}  // namespace

TEST_CASE("the ready layouts as strides") {
  check_same_offsets(layout::head_major{}, {2});
  check_same_offsets(layout::token_major{}, {1});
  check_same_offsets(layout::paged<16>{}, {5, 0});
  check_same_offsets(layout::paged<>{5}, {3, 0, 4, 1, 9});
  check_same_offsets(layout::paged<1>{},
                     {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21});
}

TEST_CASE("pages of one head: each head has its own row of the block table") {
  const std::vector<std::int32_t> table{4, 1, 0, 5, 2, 3};  // [head][block]
  const layout::page_index index{
      .pages = table.data(), .head_blocks = 2, .page_tokens = divisor(11), .page = 44, .head = 0, .token = 4};
  CHECK(index.offset(0, 0, 0) == 4 * 44);
  CHECK(index.offset(1, 12, 3) == 5 * 44 + 4 + 3);
  CHECK(index.offset(2, 21, 0) == 3 * 44 + 40);
}

TEST_CASE("a page that is none gives an offset beyond all pools") {
  const std::vector<std::int32_t> table{-1};
  const layout::page_index index{.pages = table.data(), .page_tokens = divisor(16), .page = 64, .token = 4};
  CHECK(index.offset(0, 0, 0) > index_t{64} << 31);
}

TEST_CASE("a layout that strides cannot say is refused by name") {
  try {
    (void)layout::strides_of(swapped_heads{}, shape);
    FAIL("nothing was refused");
  } catch (const error& e) {
    CHECK(e.code() == errc::bad_argument);
    CHECK(std::string(e.what()).find("\"swapped heads\"") != std::string::npos);
  }
}
