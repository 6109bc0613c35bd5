// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/adapt/pages.hpp"

#include "adapt/cache_checks.hpp"
#include "kvsharer/layout/reordered_index.hpp"

using namespace adapt_test;

namespace {

constexpr index_t page_tokens = 4;
const std::vector<std::int32_t> table{5, 0, 3};  // of the 6 pages of a pool

/// The number that slot `slot` of page `page` holds.
template <class E>
E paged(part which, index_t l, index_t page, index_t slot, index_t h, index_t d) {
  for (std::size_t block = 0; block < table.size(); ++block)
    if (table[block] == page) return stored<E>(which, l, h, static_cast<index_t>(block) * page_tokens + slot, d);
  return nothing<E>();
}

/// f(page, memory) for every page, and `gap` unused numbers behind each.
template <class E, class F>
layer_list<E> pools(index_t gap, F&& page) {
  return layer_list<E>([&](std::vector<E>& memory, index_t l) {
    for (index_t p = 0; p < 6; ++p) {
      page(memory, l, p);
      memory.insert(memory.end(), static_cast<std::size_t>(gap), nothing<E>());
    }
  });
}

template <class E>
void write_token_page(part which, std::vector<E>& memory, index_t l, index_t page) {
  for (index_t slot = 0; slot < page_tokens; ++slot)
    for (index_t h = 0; h < shape.kv_heads; ++h)
      for (index_t d = 0; d < shape.head_dim; ++d) memory.push_back(paged<E>(which, l, page, slot, h, d));
}
template <class E>
void write_head_page(part which, std::vector<E>& memory, index_t l, index_t page) {
  for (index_t h = 0; h < shape.kv_heads; ++h)
    for (index_t slot = 0; slot < page_tokens; ++slot)
      for (index_t d = 0; d < shape.head_dim; ++d) memory.push_back(paged<E>(which, l, page, slot, h, d));
}

}  // namespace

TEST_CASE_TEMPLATE("pools of pages [page][token][kv_head][channel], keys and values apart", E, float, float16) {
  const index_t gap = 8;
  const auto key_pools =
      pools<E>(gap, [](auto& memory, index_t l, index_t p) { write_token_page(part::keys, memory, l, p); });
  const auto value_pools =
      pools<E>(0, [](auto& memory, index_t l, index_t p) { write_token_page(part::values, memory, l, p); });
  const std::vector<const E*>&k = key_pools.list, &v = value_pools.list;
  const index_t key_page = page_tokens * shape.kv_heads * shape.head_dim + gap;
  // [token_pages]
  const layout::page_table of_keys{table.data(), page_tokens, key_page}, of_values{table.data(), page_tokens};
  const auto cache = adapt::cache(shape, length, adapt::token_pages(adapt::separate{k.data()}, shape, of_keys),
                                  adapt::token_pages(adapt::separate{v.data()}, shape, of_values));
  // [/token_pages]
  check_cache(cache);
}

TEST_CASE_TEMPLATE("pools of pages [page][kv_head][token][channel], keys and values apart", E, float, bfloat16) {
  const index_t gap = 24;
  const auto key_pools =
      pools<E>(0, [](auto& memory, index_t l, index_t p) { write_head_page(part::keys, memory, l, p); });
  const auto value_pools =
      pools<E>(gap, [](auto& memory, index_t l, index_t p) { write_head_page(part::values, memory, l, p); });
  const std::vector<const E*>&k = key_pools.list, &v = value_pools.list;
  const index_t value_page = page_tokens * shape.kv_heads * shape.head_dim + gap;
  // [head_pages]
  const layout::page_table of_keys{table.data(), page_tokens}, of_values{table.data(), page_tokens, value_page};
  const auto cache = adapt::cache(shape, length, adapt::head_pages(adapt::separate{k.data()}, shape, of_keys),
                                  adapt::head_pages(adapt::separate{v.data()}, shape, of_values));
  // [/head_pages]
  check_cache(cache);
}

TEST_CASE("a page's keys and values together") {
  SUBCASE("[page][keys, values][token][kv_head][channel]") {
    const auto memory = pools<bfloat16>(0, [](auto& m, index_t l, index_t p) {
      for (const part which : {part::keys, part::values}) write_token_page(which, m, l, p);
    });
    const std::vector<const bfloat16*>& kv = memory.list;
    // [joint]
    const layout::page_table pages{table.data(), page_tokens};
    const auto plane = [&](adapt::part which) {
      return adapt::joint_token_pages(adapt::separate{kv.data()}, shape, pages, which);
    };
    const auto cache = adapt::cache(shape, length, plane(adapt::part::keys), plane(adapt::part::values));
    // [/joint]
    check_cache(cache);
  }
  SUBCASE("[page][keys, values][kv_head][token][channel]") {
    const auto memory = pools<float16>(0, [](auto& m, index_t l, index_t p) {
      for (const part which : {part::keys, part::values}) write_head_page(which, m, l, p);
    });
    const layout::page_table pages{table.data(), page_tokens};
    const auto plane = [&](part which) {
      return adapt::joint_head_pages(adapt::separate{memory.list.data()}, shape, pages, which);
    };
    check_cache(adapt::cache(shape, length, plane(part::keys), plane(part::values)));
  }
}

TEST_CASE("an order of pages over strides is a paged index") {
  const layout::paged_index one{
      .pages = table.data(), .page_tokens = page_tokens, .page = 300, .head = 32, .token = 64, .base = 7};
  const layout::reordered_index two{layout::page_table{table.data(), page_tokens, 300},
                                    layout::strided_index{.head = 32, .token = 64, .base = 7}};
  static_assert(TokenRunLayout<decltype(two)>);
  CHECK(one.token_stride() == two.token_stride());
  for (index_t t = 0; t < 12; ++t) {
    CHECK(one.offset(1, t, 5) == two.offset(1, t, 5));
    for (index_t tokens = 1; tokens <= 12 - t; ++tokens) CHECK(one.run(t, tokens) == two.run(t, tokens));
  }
}
