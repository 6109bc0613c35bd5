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

}  // namespace
