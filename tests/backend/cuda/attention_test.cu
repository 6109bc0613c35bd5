// SPDX-License-Identifier: Apache-2.0
// Attention on the device against sums in double, over shapes, element types, layouts and ragged lengths.
//
// KVSHARER_TEST_SEED=<n> draws other numbers and other orders of pages; a failure names it.
#include "kvsharer/backend/cuda/attention/attend.cuh"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "backend/cuda/attention_oracle.hpp"
#include "backend/cuda/device.hpp"
#include "kvsharer/backend/cuda/pool_view.cuh"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/paged.hpp"

namespace {

using namespace device_test;

TEST_CASE("decode: one row of each sequence, lengths 0, 1 and around tiles and pages") {
  const std::vector<ragged> batch{{0, 1}, {1, 1}, {15, 1}, {16, 1}, {17, 1}, {63, 1}, {64, 1}, {65, 1}, {200, 1}};
  compare<bfloat16, 64>(layout::paged<16>{}, {8, 2, 64}, batch, 208, 1);
  compare<float16, 128>(layout::head_major{}, {4, 4, 128}, batch, 200, 2);
  compare<float, 64>(layout::paged<>{5}, {4, 1, 64}, batch, 203, 3);
}
TEST_CASE("decode: a group of more heads than a tile has rows, and several rows of a sequence") {
  compare<bfloat16, 64>(layout::paged<16>{}, {20, 1, 64}, {{70, 1}, {3, 1}, {0, 1}}, 80, 4);
  compare<float16, 96>(layout::token_major{}, {8, 2, 96}, {{33, 4}, {4, 4}, {7, 0}, {50, 8}}, 64, 5);
}
TEST_CASE("decode: the widest heads") {
  compare<bfloat16, 256>(layout::paged<16>{}, {2, 1, 256}, {{130, 1}, {31, 1}}, 144, 6);
  compare<float, 256>(layout::head_major{}, {2, 2, 256}, {{40, 1}}, 48, 7);
}
TEST_CASE("decode: 128 channels, groups of 8 and pages of 64 tokens") {
  const std::vector<ragged> batch{{0, 1}, {1, 1}, {63, 1}, {64, 1}, {65, 1}, {128, 1}, {193, 1}};
  compare<bfloat16, 128>(layout::paged<64>{}, {16, 2, 128}, batch, 256, 16);
  compare<bfloat16, 128>(layout::paged<64>{}, {4, 4, 128}, batch, 193, 17);
  compare<float, 128>(layout::token_major{}, {8, 1, 128}, {{0, 1}, {1, 1}, {64, 1}, {90, 2}}, 96, 18);
}
TEST_CASE("decode: long lines of work, whose ends are shared out among the blocks that are done") {
  const std::vector<ragged> batch{{300, 1}, {5, 1}, {0, 1}, {700, 1}, {64, 1}};
  compare<bfloat16, 64>(layout::paged<16>{}, {8, 4, 64}, batch, 704, 13, {.multiprocessors = 1});
  compare<float16, 128>(layout::head_major{}, {4, 4, 128}, batch, 700, 14, {.multiprocessors = 2});
  compare<bfloat16, 128>(layout::paged<64>{}, {8, 1, 128}, {{900, 1}, {64, 1}}, 960, 19, {.multiprocessors = 1});
  compare<float, 128>(layout::token_major{}, {2, 2, 128}, {{1500, 2}, {3, 1}}, 1500, 15, {.multiprocessors = 1});
}
TEST_CASE("prefill: rows of a ragged batch, whole sequences and chunks of longer ones") {
  const std::vector<ragged> batch{{65, 65}, {100, 37}, {1, 1}, {0, 0}, {130, 64}};
  compare<bfloat16, 64>(layout::paged<16>{}, {4, 2, 64}, batch, 144, 8);
  compare<float16, 128>(layout::head_major{}, {4, 4, 128}, batch, 130, 9);
  compare<float, 64>(layout::paged<>{3}, {2, 1, 64}, {{40, 40}, {50, 33}}, 51, 10);
}
TEST_CASE("prefill: other head sizes") {
  compare<float16, 96>(layout::token_major{}, {8, 2, 96}, {{70, 40}}, 80, 11);
  compare<bfloat16, 256>(layout::paged<16>{}, {2, 1, 256}, {{66, 40}}, 80, 12);
  compare<bfloat16, 128>(layout::paged<64>{}, {8, 1, 128}, {{66, 40}, {130, 3}}, 192, 20);
  compare<float, 128>(layout::token_major{}, {2, 2, 128}, {{70, 40}}, 70, 21);
}
/// Windows of one token, within a tile, of whole tiles and pages, about as long as the sequences, and longer.
constexpr index_t windows[] = {1, 5, 16, 33, 64, 66, 1000};

TEST_CASE("decode within a window: one row of each sequence, and several") {
  const std::vector<ragged> batch{{0, 1}, {1, 1}, {15, 1}, {17, 1}, {63, 1}, {64, 1}, {65, 1}, {200, 1}};
  unsigned seed = 40;
  for (const index_t window : windows) {
    compare<bfloat16, 64>(layout::paged<16>{}, {8, 2, 64, 0, window}, batch, 208, ++seed);
    compare<float16, 96>(layout::token_major{}, {8, 2, 96, 0, window}, {{33, 4}, {4, 4}, {7, 0}, {50, 8}}, 64, ++seed);
    compare<float, 64>(layout::paged<>{5}, {4, 1, 64, 0, window}, {{70, 7}, {3, 3}, {203, 1}}, 203, ++seed);
  }
  compare<bfloat16, 256>(layout::paged<16>{}, {2, 1, 256, 0, 50}, {{130, 1}, {31, 1}}, 144, ++seed);
}
TEST_CASE("decode within a window: long lines of work, in parts and small pieces") {
  const std::vector<ragged> batch{{300, 1}, {5, 1}, {0, 1}, {700, 1}, {64, 1}};
  unsigned seed = 70;
  for (const index_t window : {index_t{77}, index_t{256}, index_t{690}}) {
    compare<bfloat16, 64>(layout::paged<16>{}, {8, 4, 64, 0, window}, batch, 704, ++seed, {.multiprocessors = 1});
    compare<float16, 128>(layout::head_major{}, {4, 4, 128, 0, window}, batch, 700, ++seed, {.multiprocessors = 2});
  }
  compare<float, 128>(layout::token_major{}, {2, 2, 128, 0, 1300}, {{1500, 2}, {3, 1}}, 1500, ++seed,
                      {.multiprocessors = 1});
}
TEST_CASE("prefill within a window: whole sequences and chunks of longer ones") {
  const std::vector<ragged> batch{{65, 65}, {100, 37}, {1, 1}, {0, 0}, {130, 64}};
  unsigned seed = 90;
  for (const index_t window : windows) {
    compare<bfloat16, 64>(layout::paged<16>{}, {4, 2, 64, 0, window}, batch, 144, ++seed);
    compare<float, 64>(layout::paged<>{3}, {2, 1, 64, 0, window}, {{40, 40}, {50, 33}}, 51, ++seed);
  }
  compare<float16, 128>(layout::head_major{}, {4, 4, 128, 0, 30}, batch, 130, ++seed);
  compare<bfloat16, 256>(layout::paged<16>{}, {2, 1, 256, 0, 20}, {{66, 40}}, 80, ++seed);
}

/// Lengths around the tiles of 128 tokens of warpgroups' products, chunks, sequences of one token and of none.
TEST_CASE("prefill over several tiles of tokens and of rows: groups, pages and head sizes") {
  const std::vector<ragged> batch{{1, 1}, {400, 140}, {0, 0}, {129, 129}, {385, 3}, {128, 128}, {127, 5}};
  compare<bfloat16, 128>(layout::paged<16>{}, {2, 2, 128}, batch, 400, 200);
  compare<float16, 64>(layout::paged<16>{}, {4, 1, 64}, batch, 400, 201);
  const std::vector<ragged> fewer{{260, 33}, {1, 1}, {0, 1}, {131, 131}, {40, 20}};
  compare<float16, 128>(layout::paged<>{8}, {8, 2, 128}, fewer, 264, 202);
  compare<bfloat16, 128>(layout::paged<>{24}, {5, 1, 128}, fewer, 264, 203);
  compare<bfloat16, 128>(layout::paged<64>{}, {8, 1, 128}, fewer, 320, 204);
  compare<bfloat16, 64>(layout::head_major{}, {5, 1, 64}, fewer, 264, 205);
  compare<float16, 64>(layout::token_major{}, {4, 4, 64}, fewer, 264, 206);
  compare<bfloat16, 64>(layout::paged<>{3}, {8, 1, 64}, fewer, 264, 207);
}
TEST_CASE("prefill over several tiles within a window") {
  const std::vector<ragged> batch{{300, 150}, {385, 3}, {1, 1}};
  unsigned seed = 210;
  for (const index_t window : {index_t{1}, index_t{100}, index_t{200}}) {
    compare<bfloat16, 128>(layout::paged<16>{}, {1, 1, 128, 0, window}, batch, 400, ++seed);
    compare<float16, 64>(layout::paged<>{24}, {2, 1, 64, 0, window}, batch, 408, ++seed);
  }
}
TEST_CASE("prefill of more sequences than a warp has lanes, on one multiprocessor and on more than there are tiles") {
  std::vector<ragged> batch;
  for (index_t i = 0; i < 70; ++i) batch.push_back({i * 37 % 150, i * 37 % 150 * (i % 3) / 2});
  compare<bfloat16, 64>(layout::paged<16>{}, {2, 1, 64}, batch, 160, 220, {.multiprocessors = 1});
  compare<bfloat16, 64>(layout::paged<16>{}, {2, 2, 64}, {{60, 60}, {200, 50}}, 208, 221, {.multiprocessors = 100});
}

void compare_decode_with_prefill(index_t window) {
  using E = bfloat16;
  INFO("window ", window, ", KVSHARER_TEST_SEED=", drawn_seed());
  const attention_shape heads{8, 2, 64, 0, window};
  const index_t tokens = 67, width = heads.heads * heads.head_dim;
  pool<E, layout::paged<16>> cache{{1, heads.kv_heads, heads.head_dim, tokens}, {}, {{tokens, tokens}}};
  cache.fill(shifted(22));
  device on;
  const auto keys = on_device(on.stream, cache.keys), values = on_device(on.stream, cache.values);
  const auto tables = on_device(on.stream, cache.tables), lengths = on_device(on.stream, cache.lengths);
  const auto begins = on_device(on.stream, std::vector<std::int32_t>{0, static_cast<std::int32_t>(tokens)});
  const auto asked = on_device(on.stream, random_numbers<E>(tokens * width, shifted(1022)));
  auto at_once = poisoned<E>(on.stream, asked.size()), by_token = poisoned<E>(on.stream, asked.size());
  const auto view = [&](const auto& plane) {
    return cuda::pool_of(plane.data(), static_cast<index_t>(plane.size()), tables.data(), cache.blocks, cache.shape,
                         cache.layout);
  };
  cuda::attend<64>(
      on.backend, heads, view(keys), view(values),
      {.sequences = 1, .rows = tokens, .max_rows = tokens, .lengths = lengths.data(), .row_begin = begins.data()},
      asked.data(), at_once.data());
  for (index_t t = 0; t < tokens; ++t) {
    const auto length = on_device(on.stream, std::vector<std::int32_t>{static_cast<std::int32_t>(t + 1)});
    cuda::attend<64>(on.backend, heads, view(keys), view(values), {.sequences = 1, .rows = 1, .lengths = length.data()},
                     asked.data() + t * width, by_token.data() + t * width);
  }
  const std::vector<E> a = on_host(at_once), b = on_host(by_token);
  CHECK_NOTHROW(on.backend.check_status());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double apart = std::abs(static_cast<double>(static_cast<float>(a[i])) - static_cast<float>(b[i]));
    worst = std::isnan(apart) ? apart : std::max(worst, apart);
    if (std::isnan(worst)) break;
  }
  CHECK(worst < 2 * tolerance<E>);
}
TEST_CASE("decode, token after token, gives what one prefill gave") { compare_decode_with_prefill(0); }
TEST_CASE("decode, token after token, gives what one prefill gave, within a window") {
  compare_decode_with_prefill(20);
}

/// Each KV head reads a list of its own, with its own length and pages; to the expected rows it is a sequence.
template <int HeadDim>
void compare_lists(int capability) {
  using E = bfloat16;
  INFO("capability ", capability, ", ", HeadDim, " channels, KVSHARER_TEST_SEED=", drawn_seed());
  constexpr index_t kv_heads = 2, group = 2, page_tokens = 16, capacity = 208;
  const std::vector<index_t> rows{40, 1, 130};                                                    // of each sequence
  const std::vector<ragged> lists{{150, 40}, {60, 40}, {1, 1}, {33, 1}, {130, 130}, {200, 130}};  // [sequence][KV head]
  pool<E, layout::paged<page_tokens>> cache{{1, 1, HeadDim, capacity}, {}, lists};
  cache.fill(shifted(400));
  const attention_shape heads{kv_heads * group, kv_heads, HeadDim}, of_list{group, 1, HeadDim};
  const index_t width = heads.heads * HeadDim;
  std::vector<std::int32_t> row_begin{0}, lengths;
  for (std::size_t b = 0; b < rows.size(); ++b) {
    row_begin.push_back(row_begin.back() + static_cast<std::int32_t>(rows[b]));
    lengths.push_back(-1);  // nobody may read them
  }
  device on;
  on.properties.capability = capability;
  on.backend = cuda::backend(on.stream, on.properties, on.scratch.data(), on.scratch.size(), on.status.data());
  const auto keys = on_device(on.stream, cache.keys), values = on_device(on.stream, cache.values);
  const auto tables = on_device(on.stream, cache.tables), counts = on_device(on.stream, cache.lengths);
  const auto begins = on_device(on.stream, row_begin), unread = on_device(on.stream, lengths);
  const std::vector<E> queries = random_numbers<E>(row_begin.back() * width, shifted(1400));
  const auto asked = on_device(on.stream, queries);
  auto out = poisoned<E>(on.stream, queries.size());
  const auto view = [&](const auto& plane) {
    auto of_heads = cuda::pool_of(plane.data(), static_cast<index_t>(plane.size()), tables.data(),
                                  kv_heads * cache.blocks, cache_shape{1, kv_heads, HeadDim, capacity},
                                  layout::strides_of(cache.layout, {1, 1, HeadDim, capacity}));
    of_heads.pages.head_blocks = static_cast<std::uint32_t>(cache.blocks);
    of_heads.tokens = {counts.data(), static_cast<std::int32_t>(kv_heads), 1};
    return of_heads;
  };
  cuda::attend<HeadDim>(on.backend, heads, view(keys), view(values),
                        {.sequences = static_cast<index_t>(rows.size()),
                         .rows = row_begin.back(),
                         .max_rows = 130,
                         .lengths = unread.data(),
                         .row_begin = begins.data()},
                        asked.data(), out.data());
  const std::vector<E> got = on_host(out);
  CHECK_NOTHROW(on.backend.check_status());
  double worst = 0;
  for (std::size_t list = 0; list < lists.size(); ++list)
    for (index_t r = 0; r < lists[list].rows; ++r)
      for (index_t h = 0; h < group; ++h) {
        const index_t row = row_begin[list / kv_heads] + r, head = static_cast<index_t>(list) % kv_heads * group + h;
        const auto at = static_cast<std::size_t>(row * width + head * HeadDim);
        const expected_row e = attend_slowly(of_list, cache.key_rows[list], cache.value_rows[list], queries.data() + at,
                                             h, 0, lists[list].length - lists[list].rows + r + 1);
        for (std::size_t d = 0; d < e.out.size(); ++d) {
          const double apart = std::abs(static_cast<double>(static_cast<float>(got[at + d])) - e.out[d]);
          worst = apart < worst ? worst : apart;  // NaN stays
        }
      }
  CHECK(worst < tolerance<E>);
}
TEST_CASE("prefill where KV heads have lists of their own") {
  for (const int capability : {cuda::query_device().capability, 80}) {
    compare_lists<64>(capability);
    compare_lists<128>(capability);
  }
}

TEST_CASE("prefill: when products of warpgroups serve") {
  using E = bfloat16;
  device on;
  if (on.properties.capability != 90) return;
  const auto numbers = poisoned<E>(on.stream, 128);
  auto out = poisoned<E>(on.stream, 128);
  auto mass = poisoned<float>(on.stream, 2);
  const auto words = on_device(on.stream, std::vector<std::int32_t>{0, 0});
  const cuda::pool_batch<const E> view =
      cuda::pool_of(static_cast<const E*>(numbers.data()), 128, words.data(), 1, {1, 1, 128, 1}, layout::paged<1>{});
  const auto serve = [&](cuda::device_properties properties, float scale, cuda::attention_extras extras) {
    const cuda::backend backend(on.stream, properties, on.scratch.data(), on.scratch.size(), on.status.data());
    const auto p = cuda::detail::make_problem(backend, {1, 1, 128, scale}, view, view,
                                              {.sequences = 1, .rows = 1, .lengths = words.data()}, numbers.data(),
                                              out.data(), extras, {-1});
    return cuda::detail::wide_prefill_runs<128>(backend, p);
  };
  WARN(serve(on.properties, 0, {}));  // false where this file is not compiled for sm_90a
  CHECK_FALSE(serve(on.properties, -0.1f, {}));
  CHECK_FALSE(serve(on.properties, 0, {mass.data(), mass.data(), words.data(), 1}));
  cuda::device_properties older = on.properties;
  older.capability = 89;
  CHECK_FALSE(serve(older, 0, {}));
}

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

/// Attention of a prefill some pages of which are outside the pool, or which has more tokens than the views have room
/// for: those tokens count as zeros, or are left out, and the status word says so.
template <int HeadDim>
void refuse(int capability, bool too_long) {
  using E = bfloat16;
  INFO("capability ", capability, ", ", HeadDim, " channels, KVSHARER_TEST_SEED=", drawn_seed());
  const attention_shape heads{2, 1, HeadDim};
  const index_t tokens = 200, width = heads.heads * HeadDim, capacity = too_long ? 160 : tokens;
  pool<E, layout::paged<16>> cache{{1, 1, HeadDim, tokens}, {}, {{tokens, tokens}}};
  cache.fill(shifted(300));
  if (!too_long)
    for (const std::size_t block : {std::size_t{3}, std::size_t{9}}) {
      cache.tables[block] = block == 3 ? -1 : static_cast<std::int32_t>(cache.pages);
      const auto begin = static_cast<std::ptrdiff_t>(block * 16 * HeadDim), end = begin + 16 * HeadDim;
      std::fill(cache.key_rows[0].begin() + begin, cache.key_rows[0].begin() + end, E(0.0f));
      std::fill(cache.value_rows[0].begin() + begin, cache.value_rows[0].begin() + end, E(0.0f));
    }
  device on;
  on.properties.capability = capability;
  on.backend = cuda::backend(on.stream, on.properties, on.scratch.data(), on.scratch.size(), on.status.data());
  const auto keys = on_device(on.stream, cache.keys), values = on_device(on.stream, cache.values);
  const auto tables = on_device(on.stream, cache.tables), lengths = on_device(on.stream, cache.lengths);
  const auto begins = on_device(on.stream, std::vector<std::int32_t>{0, static_cast<std::int32_t>(tokens)});
  const std::vector<E> queries = random_numbers<E>(tokens * width, shifted(1300));
  const auto asked = on_device(on.stream, queries);
  auto out = poisoned<E>(on.stream, queries.size());
  const auto view = [&](const auto& plane) {
    return cuda::pool_of(plane.data(), static_cast<index_t>(plane.size()), tables.data(), cache.blocks,
                         cache_shape{1, 1, HeadDim, capacity}, cache.layout);
  };
  cuda::attend<HeadDim>(
      on.backend, heads, view(keys), view(values),
      {.sequences = 1, .rows = tokens, .max_rows = tokens, .lengths = lengths.data(), .row_begin = begins.data()},
      asked.data(), out.data());
  const std::vector<E> got = on_host(out);
  CHECK_THROWS_WITH_AS(on.backend.check_status(),
                       doctest::Contains(too_long ? "longer than the cache's capacity" : "outside the pool"), error);
  double worst = 0;
  for (index_t r = 0; r < tokens; ++r)
    for (index_t h = 0; h < heads.heads; ++h) {
      const auto at = static_cast<std::size_t>(r * width + h * HeadDim);
      const expected_row e = attend_slowly(heads, cache.key_rows[0], cache.value_rows[0], queries.data() + at, h, 0,
                                           std::min(r + 1, capacity));
      for (std::size_t d = 0; d < e.out.size(); ++d) {
        const double apart = std::abs(static_cast<double>(static_cast<float>(got[at + d])) - e.out[d]);
        worst = apart < worst ? worst : apart;  // NaN stays
      }
    }
  CHECK(worst < tolerance<E>);
}
TEST_CASE("prefill reports pages outside the pool and tokens past the capacity, and goes on without them") {
  for (const int capability : {cuda::query_device().capability, 80})
    for (const bool too_long : {false, true}) {
      refuse<64>(capability, too_long);
      refuse<128>(capability, too_long);
    }
}

}  // namespace
