// SPDX-License-Identifier: Apache-2.0
// Attention within a window against a plain loop in float64.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "kvsharer/backend/cpu/attention.hpp"
#include "kvsharer/core/attention_shape.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/paged.hpp"
#include "kvsharer/runtime/shared_cache.hpp"

namespace {

using kvsharer::attention_shape;
using kvsharer::index_t;

constexpr int heads = 4, kv_heads = 2, head_dim = 6;
constexpr index_t width = index_t{heads} * head_dim, kv_width = index_t{kv_heads} * head_dim;

std::vector<float> random_rows(index_t count, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<float> numbers(static_cast<std::size_t>(count));
  for (float& x : numbers) x = static_cast<float>(bits() % 2001) / 1000 - 1;
  return numbers;
}

/// A sequence whose last `rows` tokens ask, behind `first` others.
struct asked {
  index_t first, rows;
  std::vector<float> keys, values, queries;  // [first + rows][kv_width] twice, [rows][width]

  asked(index_t before, index_t asking)
      : first(before),
        rows(asking),
        keys(random_rows((before + asking) * kv_width, 1)),
        values(random_rows((before + asking) * kv_width, 2)),
        queries(random_rows(asking * width, 3)) {}

  /// Row r's head h sees the tokens from `begin` to its own.
  std::vector<double> plain(index_t r, int h, index_t begin) const {
    const int group = h / (heads / kv_heads);
    const auto at = [&](const std::vector<float>& of, index_t token, int channel) {
      return double{of[static_cast<std::size_t>(token * kv_width + group * head_dim + channel)]};
    };
    std::vector<double> weights;
    double sum = 0;
    for (index_t t = begin; t <= first + r; ++t) {
      double dot = 0;
      for (int i = 0; i < head_dim; ++i)
        dot += double{queries[static_cast<std::size_t>(r * width + h * head_dim + i)]} * at(keys, t, i);
      weights.push_back(std::exp(dot / std::sqrt(double{head_dim})));
      sum += weights.back();
    }
    std::vector<double> out(head_dim, 0);
    for (index_t t = begin; t <= first + r; ++t)
      for (int i = 0; i < head_dim; ++i)
        out[static_cast<std::size_t>(i)] += weights[static_cast<std::size_t>(t - begin)] / sum * at(values, t, i);
    return out;
  }

  /// All rows and heads, in one piece or a KV head at a time.
  template <class Layout>
  std::vector<float> run(index_t window, Layout layout, bool head_by_head) const {
    const index_t tokens = first + rows;
    kvsharer::shared_cache<float, Layout> cache(kvsharer::share_map::identity(1), {1, kv_heads, head_dim, tokens}, {},
                                                layout);
    const kvsharer::sequence_id id = cache.create();
    cache.append(id, tokens);
    cache.store({0}, id, 0, tokens, keys.data(), values.data());
    std::vector<float> out(static_cast<std::size_t>(rows * width), -100);
    kvsharer::cpu::attention_scratch scratch;
    const attention_shape shape{.heads = heads, .kv_heads = kv_heads, .head_dim = head_dim, .window = window};
    const auto attend = [&](index_t begin, index_t end) {
      kvsharer::cpu::attend(shape, cache.keys({0}, id), cache.values({0}, id), first, rows, queries.data(), out.data(),
                            scratch, begin, end);
    };
    if (head_by_head)
      for (index_t h = 0; h < kv_heads; ++h) attend(h, h + 1);
    else
      attend(0, kv_heads);
    return out;
  }

  /// How far they are apart from the plain loop.
  template <class Layout>
  double worst(index_t window, Layout layout, bool head_by_head) const {
    const std::vector<float> out = run(window, layout, head_by_head);
    double apart = 0;
    for (index_t r = 0; r < rows; ++r)
      for (int h = 0; h < heads; ++h) {
        const index_t begin = window == 0 ? 0 : std::max<index_t>(0, first + r + 1 - window);
        const std::vector<double> expected = plain(r, h, begin);
        for (int i = 0; i < head_dim; ++i)
          apart = std::max(apart, std::abs(expected[static_cast<std::size_t>(i)] -
                                           double{out[static_cast<std::size_t>(r * width + h * head_dim + i)]}));
      }
    return apart;
  }
};

TEST_CASE("rows see the last tokens of the window up to their own") {
  const std::pair<index_t, index_t> chunks[] = {{0, 1}, {0, 9}, {7, 1}, {5, 6}, {40, 3}};
  for (const auto& chunk : chunks) {
    const index_t first = chunk.first, rows = chunk.second;
    const asked a(first, rows);
    // None; one token; shorter than what came before; within the chunk; as long as all; longer.
    for (const index_t window : {index_t{0}, index_t{1}, index_t{3}, index_t{6}, index_t{8}, first + 1, first + rows,
                                 first + rows + 1, index_t{1000}}) {
      CAPTURE(first);
      CAPTURE(rows);
      CAPTURE(window);
      for (const bool head_by_head : {false, true}) {
        CHECK(a.worst(window, kvsharer::layout::head_major{}, head_by_head) < 1e-5);
        CHECK(a.worst(window, kvsharer::layout::paged<>{4}, head_by_head) < 1e-5);  // windows begin within pages
      }
    }
  }
}

TEST_CASE("a chunk that straddles the window is not the same as one without") {
  const asked a(5, 6);  // with a window of 8 the first three rows see all, the others do not
  REQUIRE(a.worst(8, kvsharer::layout::head_major{}, false) < 1e-5);
  for (index_t r = 0; r < 6; ++r) {
    const index_t begin = std::max<index_t>(0, 5 + r + 1 - 8);
    CHECK((a.plain(r, 0, begin) != a.plain(r, 0, 0)) == (r >= 3));
  }
}

TEST_CASE("what lies before the window is not read, and moves no bit") {
  const asked a(40, 7);
  asked poisoned = a;
  const index_t before = 40 + 1 - 9;  // the first row's window begins there
  std::fill_n(poisoned.keys.begin(), before * kv_width, std::numeric_limits<float>::quiet_NaN());
  std::fill_n(poisoned.values.begin(), before * kv_width, std::numeric_limits<float>::quiet_NaN());
  CHECK(poisoned.worst(9, kvsharer::layout::paged<>{4}, true) == a.worst(9, kvsharer::layout::paged<>{4}, true));
  CHECK(std::isnan(poisoned.run(10, kvsharer::layout::paged<>{4}, true)[0]));  // the poison works
}

TEST_CASE("a window is tokens, or none") {
  CHECK_NOTHROW(kvsharer::check_shape({.heads = 1, .kv_heads = 1, .head_dim = 1, .window = 0}));
  CHECK_THROWS_WITH_AS(kvsharer::check_shape({.heads = 1, .kv_heads = 1, .head_dim = 1, .window = -1}),
                       doctest::Contains("E302"), kvsharer::error);
  const attention_shape four{.heads = 1, .kv_heads = 1, .head_dim = 1, .window = 4};
  CHECK(four.first_seen(0) == 0);
  CHECK(four.first_seen(3) == 0);
  CHECK(four.first_seen(4) == 1);
  CHECK(attention_shape{1, 1, 1}.first_seen(1000) == 0);
}

}  // namespace
