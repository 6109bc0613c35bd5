// SPDX-License-Identifier: Apache-2.0
// The order in which blocks of prefill attention take tiles of rows.
#include "kvsharer/backend/cuda/attention/wide_order.cuh"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <type_traits>
#include <vector>

#include "backend/cuda/attention_oracle.hpp"
#include "backend/cuda/device.hpp"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/pool_view.cuh"
#include "kvsharer/layout/paged.hpp"

namespace {

using namespace device_test;

/// The tiles of a sequence that are over a limit, counted one by one.
TEST_CASE("prefill: how many tiles of a sequence see more tokens than a limit") {
  const ragged sequences[] = {{0, 0}, {1, 1}, {500, 1}, {64, 64}, {130, 130}, {400, 130}, {333, 300}, {3, 5}};
  for (const ragged& r : sequences)
    for (const int group : {1, 3, 8})
      for (const int window : {5, 100, 256, cuda::detail::all_tokens}) {
        const int rows = static_cast<int>(r.rows), length = static_cast<int>(r.length);
        const cuda::detail::wide_sequence s{rows, length, group, window, 128};
        INFO(rows, " rows of ", length, " tokens, group ", group, ", window ", window);
        for (int limit = -1; limit < 520; ++limit) {
          int count = 0;
          for (int begin = 0; begin < rows * group; begin += 128) {
            const int last = std::min(begin + 128, rows * group) - 1;
            count += limit < 0 || std::min(length - rows + last / group + 1, window) > limit ? 1 : 0;
          }
          REQUIRE(s.over(limit) == count);
        }
      }
}

template <class Problem>
__global__ void list_items(const __grid_constant__ Problem p, index_t l2_bytes, int room,
                           cuda::detail::wide_item* items, int* found) {
  const cuda::detail::wide_order<Problem> order(p, 64, 128, 128, 512, l2_bytes);
  for (int rank = 0; rank < order.items() && rank < room; ++rank) {
    const cuda::detail::wide_item item = order.find(rank);
    if (threadIdx.x == 0) items[rank] = item;
  }
  if (threadIdx.x == 0) found[0] = order.items();
  if (threadIdx.x == 0) found[1] = order.items_are_short() ? 1 : 0;
}

/// Every tile of rows has one rank; in a section of heads the ends of the tiles descend, in steps of 128 tokens.
void check_order(const std::vector<ragged>& sequences, index_t window, index_t sections, bool are_short) {
  using E = bfloat16;
  const index_t kv_heads = 4, group = 2;
  INFO(sequences.size(), " sequences, the first of ", sequences[0].length, " tokens, window ", window, ", ", sections,
       " sections");
  std::vector<std::int32_t> row_begin{0}, lengths;
  index_t tokens = 0;
  std::size_t expected = 0;
  for (const ragged& r : sequences) {
    row_begin.push_back(row_begin.back() + static_cast<std::int32_t>(r.rows));
    lengths.push_back(static_cast<std::int32_t>(r.length));
    tokens += r.length;
    expected += static_cast<std::size_t>((r.rows * group + 127) / 128 * kv_heads);
  }
  device on;
  const auto begins = on_device(on.stream, row_begin), counts = on_device(on.stream, lengths);
  const auto numbers = poisoned<E>(on.stream, 64);
  auto out = poisoned<E>(on.stream, 64);
  auto found = poisoned<int>(on.stream, 2);
  auto items = poisoned<cuda::detail::wide_item>(on.stream, expected + 1);
  const cuda::pool_batch<const E> view = cuda::pool_of(static_cast<const E*>(numbers.data()), 64, counts.data(), 1,
                                                       {1, kv_heads, 64, 1 << 20}, layout::paged<16>{});
  const auto p = cuda::detail::make_problem(on.backend, {kv_heads * group, kv_heads, 64, 0, window}, view, view,
                                            {.sequences = static_cast<index_t>(sequences.size()),
                                             .rows = row_begin.back(),
                                             .max_rows = 1,
                                             .lengths = counts.data(),
                                             .row_begin = begins.data()},
                                            numbers.data(), out.data(), {}, {-1});
  const index_t l2_bytes = tokens * 256 * (kv_heads / sections) + 200;
  cuda::detail::launch("list items", on.stream, {dim3(1), 32, 0}, list_items<std::remove_const_t<decltype(p)>>, p,
                       l2_bytes, static_cast<int>(expected + 1), items.data(), found.data());
  const std::vector<int> totals = on_host(found);
  REQUIRE(static_cast<std::size_t>(totals[0]) == expected);
  CHECK((totals[1] != 0) == are_short);
  const std::vector<cuda::detail::wide_item> got = on_host(items);
  std::set<std::array<int, 3>> tiles;
  const std::size_t of_section = expected / static_cast<std::size_t>(sections);
  int level = 0;
  for (std::size_t rank = 0; rank < expected; ++rank) {
    const cuda::detail::wide_item& i = got[rank];
    const auto b = static_cast<std::size_t>(i.sequence);
    REQUIRE(b < sequences.size());
    CHECK((i.length == lengths[b] && i.rows == sequences[b].rows && i.first_row == row_begin[b] &&
           i.place == i.sequence));
    CHECK((i.begin % 128 == 0 && i.begin < i.packed_rows && i.head >= 0 && i.head < kv_heads));
    tiles.insert({i.sequence, i.head, i.begin});
    const int last = std::min(i.begin + 128, i.packed_rows) - 1;
    const int seen = std::max(0, std::min(i.visible(last, group), p.window)), now = (seen + 127) / 128;
    if (rank % of_section != 0) CHECK(now <= level);
    level = now;
  }
  CHECK(tiles.size() == expected);
}
TEST_CASE("prefill: every tile of rows has a rank, and in a section of heads they descend by tokens") {
  std::vector<ragged> unequal;
  for (index_t i = 0; i < 70; ++i) unequal.push_back({i * 37 % 300, i % 9 == 4 ? 0 : i * 37 % 300});
  for (const index_t sections : {1, 2, 4}) {
    check_order(unequal, 0, sections, true);
    check_order(std::vector<ragged>(30, {64, 64}), 0, sections, true);
    check_order(std::vector<ragged>(3, {512, 300}), 0, sections, true);
    check_order(std::vector<ragged>(37, {700, 330}), 0, sections, false);
    check_order(std::vector<ragged>(3, {513, 513}), 0, sections, false);
    check_order({{900, 900}}, 0, sections, false);
    check_order({{900, 700}, {900, 900}, {30, 0}}, 0, sections, false);
    check_order({{900, 900}, {900, 900}, {901, 900}}, 128, sections, true);
    check_order(std::vector<ragged>(40, {0, 33}), 0, sections, true);
    check_order(std::vector<ragged>(5, {0, 0}), 0, sections, true);
  }
}

}  // namespace
