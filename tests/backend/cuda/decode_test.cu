// SPDX-License-Identifier: Apache-2.0
// The decode kernel of runs of rows: where its line of work is cut, its products for every shape, what it refuses, and
// when a sequence's result has the same bits.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "backend/cuda/attention_oracle.hpp"
#include "backend/cuda/device.hpp"
#include "kvsharer/backend/cuda/attention/decode_cuts.hpp"
#include "kvsharer/backend/cuda/store.cuh"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/paged.hpp"

namespace {

using namespace device_test;
using cuda::detail::decode_cuts;
using cuda::detail::item_pieces;

/// The longest piece, if pieces are the whole line in order and `of` says in which of them a unit lies; else -1.
int longest_piece(const decode_cuts& cuts, int total, int blocks) {
  int longest = 0;
  if (cuts.begin(0) != 0 || cuts.begin(blocks) != total) return -1;
  for (int c = 0; c < blocks; ++c) {
    const int begin = cuts.begin(c), end = cuts.begin(c + 1);
    if (end < begin) return -1;
    if (end > begin && (cuts.of(begin) != c || cuts.of(end - 1) != c)) return -1;
    longest = std::max(longest, end - begin);
  }
  return longest;
}

TEST_CASE("pieces are the whole line, and hardly longer than in an even cut") {
  for (const int blocks : {1, 3, 6, 132})
    for (const int units : {0, 1, 2, 7, 16, 64, 513})
      for (const int items : {1, 2, 8, 31, 32, 128, 1000}) {
        INFO(blocks, " blocks, ", items, " items of ", units);
        const int total = items * (units > 0 ? units : 5), even = (total + blocks - 1) / blocks;
        const int longest = longest_piece(decode_cuts(total, blocks, units), total, blocks);
        CHECK(longest >= even);
        CHECK(100 * longest <= 103 * even);
      }
  CHECK(longest_piece(decode_cuts(0, 4, 0), 0, 4) == 0);
}
TEST_CASE("items stay whole, or in equal parts, where that costs at most 3 %") {
  const auto parts = [](int items, int units, int item) {
    const decode_cuts cuts(items * units, 132, units);
    const item_pieces of(cuts, item * units, units);
    return of.last - of.first + 1;
  };
  for (const int item : {0, 1, 77, 127}) CHECK(parts(128, 32, item) == 1);     // 16 sequences of 8 heads, 2048 tokens
  for (const int item : {0, 5, 600, 2047}) CHECK(parts(2048, 16, item) == 1);  // 64 of 32, 1024
  for (const int item : {0, 7}) CHECK(parts(8, 64, item) == 16);               // one of 8, 4096: 128 of 132 blocks
  for (const int item : {0, 31}) CHECK(parts(32, 512, item) == 4);             // one of 32, 32768
  CHECK(parts(1, 1000, 0) == 125);  // 8 units in each of 125 blocks, as in an even cut
  CHECK(parts(133, 64, 1) == 2);    // whole items would take 66 blocks
}

/// All lengths around tiles, units and pages, in one batch.
const std::vector<ragged> lengths{{0, 1},  {1, 1},  {15, 1}, {16, 1},  {17, 1},
                                  {63, 1}, {64, 1}, {65, 1}, {129, 1}, {200, 1}};

template <class E, int HeadDim>
void compare_groups(unsigned seed) {
  for (const index_t group : {1, 2, 4, 5, 8, 16, 20}) {
    const attention_shape heads{2 * group, 2, HeadDim};
    compare<E, HeadDim>(layout::paged<16>{}, heads, lengths, 208, ++seed);
  }
}
TEST_CASE("groups of 1 to 20 heads, all sizes of heads, both types of 16 bits") {
  compare_groups<bfloat16, 64>(100);
  compare_groups<float16, 96>(110);
  compare_groups<bfloat16, 128>(120);
  compare_groups<float16, 256>(130);
}
TEST_CASE("pages of any size, shuffled and in order, and contiguous memory") {
  unsigned seed = 200;
  for (const bool in_order : {false, true})
    for (const index_t page : {8, 16, 24, 40, 64, 72, 5}) {  // 5: row by row
      compare<bfloat16, 64>(layout::paged<>{page}, {4, 1, 64}, lengths, 360, ++seed, {.in_order = in_order});
      compare<float16, 128>(layout::paged<>{page}, {4, 2, 128}, {{200, 1}, {7, 1}}, 360, ++seed,
                            {.in_order = in_order});
    }
  compare<bfloat16, 96>(layout::head_major{}, {4, 2, 96}, lengths, 203, ++seed);  // no multiple of a run
  compare<float16, 64>(layout::token_major{}, {4, 1, 64}, lengths, 200, ++seed);  // one head: runs
  compare<float16, 64>(layout::token_major{}, {4, 2, 64}, lengths, 200, ++seed);  // two: none
}
TEST_CASE("without bulk copies") {
  unsigned seed = 300;
  compare<bfloat16, 64>(layout::paged<16>{}, {10, 2, 64}, lengths, 208, ++seed, {.capability = 80});
  compare<float16, 128>(layout::paged<64>{}, {8, 8, 128}, lengths, 256, ++seed, {.capability = 86});
  compare<bfloat16, 256>(layout::head_major{}, {2, 1, 256}, {{130, 1}, {31, 1}}, 144, ++seed, {.capability = 89});
}
TEST_CASE("several rows of a sequence, up to 32 packed ones") {
  unsigned seed = 400;
  const std::vector<ragged> few{{33, 4}, {4, 4}, {7, 0}, {0, 0}, {130, 2}, {64, 1}};
  for (const index_t window : {0, 1, 20, 64, 100}) {
    compare<bfloat16, 64>(layout::paged<16>{}, {4, 2, 64, 0, window}, few, 144, ++seed);
    compare<float16, 128>(layout::paged<24>{}, {8, 2, 128, 0, window}, few, 144, ++seed);
    compare<bfloat16, 128>(layout::head_major{}, {2, 2, 128, 0, window}, {{150, 16}, {200, 9}, {16, 16}}, 200, ++seed);
    compare<float16, 96>(layout::paged<64>{}, {16, 2, 96, 0, window}, few, 192, ++seed);
    compare<bfloat16, 256>(layout::paged<16>{}, {8, 2, 256, 0, window}, few, 144, ++seed);
  }
}
TEST_CASE("a block's ring runs on over many items, whole and in parts") {
  unsigned seed = 500;
  for (const int multiprocessors : {1, 2, 5}) {
    compare<bfloat16, 128>(layout::paged<16>{}, {8, 4, 128}, {{300, 1}, {5, 1}, {0, 1}, {700, 1}, {64, 1}}, 704, ++seed,
                           {.multiprocessors = multiprocessors});
    compare<float16, 64>(layout::paged<64>{}, {8, 8, 64, 0, 150}, {{300, 1}, {5, 1}, {0, 1}, {700, 1}, {64, 1}}, 704,
                         ++seed, {.multiprocessors = multiprocessors});
  }
  // More lists than a warp goes through alone, all alike and not.
  compare<float16, 64>(layout::paged<16>{}, {1, 1, 64}, std::vector<ragged>(100, {70, 1}), 80, ++seed);
  std::vector<ragged> uneven;
  for (index_t i = 0; i < 100; ++i) uneven.push_back({i * 13 % 150, 1});
  compare<float16, 64>(layout::paged<16>{}, {2, 2, 64}, uneven, 160, ++seed);
  // One item in more parts than a merge loads at once.
  compare<bfloat16, 64>(layout::paged<16>{}, {2, 1, 64}, {{40 * 64, 1}}, 40 * 64, ++seed, {.multiprocessors = 40});
}

TEST_CASE("an item in 300 parts, without bulk copies" * doctest::test_suite("long")) {
  compare<float16, 64>(layout::paged<16>{}, {16, 1, 64}, {{300 * 64, 1}}, 300 * 64, 600, {150, 80});
}

/// A batch of one head in pages of 16, of which a test may change what it likes.
struct small_batch {
  static constexpr index_t width = 4 * 64;  // of a row of queries
  pool<bfloat16, layout::paged<16>> cache;
  std::vector<bfloat16> queries;
  cuda::status_word status{};

  explicit small_batch(const std::vector<ragged>& sequences, unsigned seed = 7)
      : cache{{1, 1, 64, 16 * 40}, {}, sequences},
        queries(random_numbers<bfloat16>(static_cast<index_t>(sequences.size()) * width, seed)) {
    cache.fill(seed);
  }
  std::vector<float> run(index_t capacity = 16 * 40, int multiprocessors = 3) {
    device on;
    on.properties.multiprocessors = multiprocessors;
    on.backend = cuda::backend(on.stream, on.properties, on.scratch.data(), on.scratch.size(), on.status.data());
    const auto keys = on_device(on.stream, cache.keys), values = on_device(on.stream, cache.values);
    const auto tables = on_device(on.stream, cache.tables), counts = on_device(on.stream, cache.lengths);
    const auto asked = on_device(on.stream, queries);
    auto out = poisoned<bfloat16>(on.stream, queries.size());
    const auto view = [&](const auto& plane) {
      auto made = cuda::pool_of(plane.data(), static_cast<index_t>(plane.size()), tables.data(), cache.blocks,
                                cache.shape, cache.layout);
      made.shape.capacity = capacity;
      return made;
    };
    const auto sequences = static_cast<index_t>(cache.sequences.size());
    cuda::attend<64>(on.backend, {4, 1, 64}, view(keys), view(values),
                     {.sequences = sequences, .rows = sequences, .lengths = counts.data()}, asked.data(), out.data());
    status = on_host(on.status).front();
    const auto counters = on_host(on.stream, on.scratch.data(), cuda::backend::counter_bytes);
    CHECK(std::all_of(counters.begin(), counters.end(), [](std::byte x) { return x == std::byte{0}; }));
    std::vector<float> numbers;
    for (const bfloat16 x : on_host(out)) numbers.push_back(static_cast<float>(x));
    return numbers;
  }
  /// How far the result of a sequence is from that of attention over its first `tokens` tokens.
  double error_of(const std::vector<float>& got, std::size_t b, index_t tokens) const {
    double worst = 0;
    for (index_t h = 0; h < 4; ++h) {
      const auto at = b * width + static_cast<std::size_t>(h) * 64;
      const expected_row e =
          attend_slowly({4, 1, 64}, cache.key_rows[b], cache.value_rows[b], queries.data() + at, h, 0, tokens);
      for (std::size_t d = 0; d < 64; ++d) {
        const double apart = std::abs(got[at + d] - e.out[d]);
        worst = apart <= worst ? worst : apart;
      }
    }
    return worst;
  }
};

TEST_CASE("tokens of a page outside the pool count as zeros and are reported") {
  for (const int page : {-1, 1000, std::numeric_limits<int>::max()}) {
    small_batch batch({{200, 1}, {90, 1}, {70, 1}});
    auto expected = batch;
    const std::size_t block = static_cast<std::size_t>(batch.cache.blocks) + 2;  // tokens 32 to 47 of sequence 1
    batch.cache.tables[block] = page;
    for (std::size_t i = 32 * 64; i < 48 * 64; ++i)
      expected.cache.key_rows[1][i] = expected.cache.value_rows[1][i] = bfloat16(0.0f);
    const auto got = batch.run();
    CHECK(batch.status.why == static_cast<std::int32_t>(cuda::refusal::page_out_of_range));
    CHECK(batch.status.sequence == 1);
    CHECK(batch.status.token >= 32);
    CHECK(batch.status.token < 48);
    CHECK(expected.error_of(got, 0, 200) < 1e-2);
    CHECK(expected.error_of(got, 1, 90) < 1e-2);
    CHECK(expected.error_of(got, 2, 70) < 1e-2);
  }
}
TEST_CASE("tokens past the capacity are left out and reported") {
  small_batch batch({{200, 1}, {90, 1}, {70, 1}});
  const auto got = batch.run(100);
  CHECK(batch.status.why == static_cast<std::int32_t>(cuda::refusal::past_capacity));
  CHECK(batch.status.sequence == 0);
  CHECK(batch.status.token == 100);
  CHECK(batch.error_of(got, 0, 100) < 1e-2);
  CHECK(batch.error_of(got, 1, 90) < 1e-2);
  CHECK(batch.error_of(got, 2, 70) < 1e-2);
}

TEST_CASE("two runs have the same bits; so has a sequence at every place, while items are whole") {
  const std::vector<ragged> alike(9, {150, 1});
  small_batch batch(alike);
  const auto first = batch.run(), second = batch.run();
  CHECK(std::equal(first.begin(), first.end(), second.begin()));
  // Nine items of three units on three blocks are whole. The first sequence's tokens and queries at the last place:
  auto moved = batch;
  const auto blocks = static_cast<std::size_t>(batch.cache.blocks), width = static_cast<std::size_t>(batch.width);
  std::copy_n(batch.cache.tables.begin(), blocks, moved.cache.tables.begin() + static_cast<long>(8 * blocks));
  std::copy_n(batch.queries.begin(), width, moved.queries.begin() + static_cast<long>(8 * width));
  const auto elsewhere = moved.run();
  CHECK(std::equal(first.begin(), first.begin() + static_cast<long>(width),
                   elsewhere.begin() + static_cast<long>(8 * width)));
  // Alone, its item is cut into parts, whose sums are rounded otherwise; on one block it is whole again.
  auto alone = batch;
  alone.cache.sequences.resize(1);
  alone.queries.resize(width);
  const auto whole = alone.run(16 * 40, 1);
  CHECK(std::equal(whole.begin(), whole.end(), first.begin()));
  CHECK(alone.error_of(alone.run(), 0, 150) < 1e-2);
}

/// The newest `rows` tokens of each sequence, [rows][channel], for store.
template <class Rows>
std::vector<bfloat16> newest_of(const small_batch& batch, const Rows& of_sequence, index_t rows) {
  std::vector<bfloat16> all;
  for (std::size_t b = 0; b < batch.cache.sequences.size(); ++b)
    all.insert(all.end(), of_sequence[b].end() - rows * 64, of_sequence[b].end());
  return all;
}

/// Stores the newest rows of each sequence, where nothing was before, and the queries of the newest token, and attends
/// to all tokens in a batch whose older ones are settled. Returns how far off the result is at worst, over some runs.
double error_of_settled(index_t rows, int runs) {
  small_batch batch({{200, 1}, {90, 1}, {77, 1}, {300, 1}});
  const auto sequences = static_cast<index_t>(batch.cache.sequences.size());
  device on;
  const auto new_keys = on_device(on.stream, newest_of(batch, batch.cache.key_rows, rows));
  const auto new_values = on_device(on.stream, newest_of(batch, batch.cache.value_rows, rows));
  const auto tables = on_device(on.stream, batch.cache.tables), counts = on_device(on.stream, batch.cache.lengths);
  const auto new_queries = on_device(on.stream, batch.queries);
  std::vector<std::int32_t> places;
  for (index_t b = 0; b < sequences; ++b) places.push_back(static_cast<std::int32_t>(b));
  const auto place_of_queries = on_device(on.stream, places);
  const auto ones = on_device(on.stream, std::vector<std::int32_t>(places.size(), 1));
  for (std::size_t b = 0; b < batch.cache.sequences.size(); ++b) {
    const auto index = batch.cache.layout.index(
        batch.cache.shape, batch.cache.tables.data() + b * static_cast<std::size_t>(batch.cache.blocks));
    for (index_t t = batch.cache.sequences[b].length - rows; t < batch.cache.sequences[b].length; ++t)
      for (index_t d = 0; d < 64; ++d)
        batch.cache.keys[static_cast<std::size_t>(index.offset(0, t, d))] =
            batch.cache.values[static_cast<std::size_t>(index.offset(0, t, d))] =
                bfloat16(std::numeric_limits<float>::quiet_NaN());
  }
  std::vector<std::int32_t> row_begin;
  for (index_t b = 0; b <= sequences; ++b) row_begin.push_back(static_cast<std::int32_t>(b * rows));
  const auto begins = on_device(on.stream, row_begin);
  double worst = 0;
  for (int run = 0; run < runs; ++run) {
    auto keys = on_device(on.stream, batch.cache.keys), values = on_device(on.stream, batch.cache.values);
    auto out = poisoned<bfloat16>(on.stream, batch.queries.size());
    auto asked = poisoned<bfloat16>(on.stream, batch.queries.size());
    const auto view = [&](auto* plane) {
      return cuda::pool_of(plane, static_cast<index_t>(keys.size()), tables.data(), batch.cache.blocks,
                           batch.cache.shape, batch.cache.layout);
    };
    cuda::store(on.backend, view(keys.data()), view(values.data()),
                {.sequences = sequences,
                 .rows = sequences * rows,
                 .max_rows = rows,
                 .lengths = counts.data(),
                 .row_begin = begins.data()},
                cuda::new_rows<bfloat16>{new_keys.data(), new_values.data()});
    const auto rows_of_queries = cuda::pool_of(asked.data(), sequences * 4 * 64, place_of_queries.data(), 1,
                                               cache_shape{1, 4, 64, 1}, layout::token_major{});
    cuda::store(on.backend, rows_of_queries, rows_of_queries,
                {.sequences = sequences, .rows = sequences, .lengths = ones.data()},
                cuda::new_rows<bfloat16>{new_queries.data(), nullptr});
    cuda::attend<64>(on.backend, {4, 1, 64}, view(std::as_const(keys).data()), view(std::as_const(values).data()),
                     {.sequences = sequences, .rows = sequences, .lengths = counts.data(), .settled = true},
                     asked.data(), out.data());
    std::vector<float> got;
    for (const bfloat16 x : on_host(out)) got.push_back(static_cast<float>(x));
    for (std::size_t b = 0; b < batch.cache.sequences.size(); ++b) {
      const double apart = batch.error_of(got, b, batch.cache.sequences[b].length);
      worst = apart <= worst ? worst : apart;
    }
    CHECK_NOTHROW(on.backend.check_status());
  }
  return worst;
}
TEST_CASE("where older tokens are settled, the newest are still awaited") { CHECK(error_of_settled(1, 60) < 1e-2); }
TEST_CASE("a store of more rows than the newest does not let a launch begin that takes them for settled") {
  CHECK(error_of_settled(70, 60) < 1e-2);
}

}  // namespace
