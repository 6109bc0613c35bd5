// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/backend/cpu/attention.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "kvsharer/core/attention_shape.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/paged.hpp"
#include "kvsharer/runtime/shared_cache.hpp"

namespace {

using namespace kvsharer;

std::vector<float> random_numbers(index_t n, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<float> x(static_cast<std::size_t>(n));
  for (float& v : x) v = static_cast<float>(static_cast<int>(bits() % 4001) - 2000) / 1000.0f;
  return x;
}

/// Rows [token][kv_head * head_dim], as they are stored into a cache.
struct sequence {
  attention_shape shape;
  index_t tokens;
  std::vector<float> keys = random_numbers(tokens * shape.kv_heads * shape.head_dim, 1);
  std::vector<float> values = random_numbers(tokens * shape.kv_heads * shape.head_dim, 2);
  std::vector<float> queries = random_numbers(tokens * shape.heads * shape.head_dim, 3);

  index_t width() const { return shape.heads * shape.head_dim; }
};

/// The definition in float64, of one query row: softmax(q k^T scale) v over the tokens up to its own.
std::vector<double> plain_attention(const sequence& s, index_t token, auto&& key, auto&& value) {
  const index_t d = s.shape.head_dim, group = s.shape.heads / s.shape.kv_heads;
  const double scale = s.shape.scale != 0 ? static_cast<double>(s.shape.scale) : 1 / std::sqrt(static_cast<double>(d));
  std::vector<double> out(static_cast<std::size_t>(s.width()), 0.0);
  for (index_t h = 0; h < s.shape.heads; ++h) {
    std::vector<double> weight;
    double highest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (index_t t = 0; t <= token; ++t) {
      double score = 0;
      for (index_t c = 0; c < d; ++c)
        score += static_cast<double>(s.queries[static_cast<std::size_t>(token * s.width() + h * d + c)]) *
                 key(h / group, t, c);
      weight.push_back(score * scale);
      highest = std::max(highest, weight.back());
    }
    for (double& w : weight) sum += w = std::exp(w - highest);
    for (index_t t = 0; t <= token; ++t)
      for (index_t c = 0; c < d; ++c)
        out[static_cast<std::size_t>(h * d + c)] += weight[static_cast<std::size_t>(t)] / sum * value(h / group, t, c);
  }
  return out;
}

template <class E, class Layout>
shared_cache<E, Layout> stored(const sequence& s, Layout layout, index_t capacity) {
  shared_cache<E, Layout> cache(share_map::identity(1), {1, s.shape.kv_heads, s.shape.head_dim, capacity}, {}, layout);
  const sequence_id id = cache.create();
  cache.append(id, s.tokens);
  cache.store({0}, id, 0, s.tokens, s.keys.data(), s.values.data());
  return cache;
}

constexpr sequence_id only{0};

/// Rows [first, first + rows) through the library.
template <class Cache>
std::vector<float> attended(const Cache& cache, const sequence& s, index_t first, index_t rows) {
  std::vector<float> out(static_cast<std::size_t>(rows * s.width()), std::numeric_limits<float>::quiet_NaN());
  cpu::attend(s.shape, cache.keys({0}, only), cache.values({0}, only), first, rows,
              s.queries.data() + first * s.width(), out.data());
  return out;
}

template <class E, class Layout>
void check_against_definition(const sequence& s, Layout layout) {
  const auto cache = stored<E>(s, layout, s.tokens);
  const auto keys = cache.keys({0}, only), values = cache.values({0}, only);
  const auto key = [&](index_t h, index_t t, index_t c) { return static_cast<double>(keys.at(h, t, c)); };
  const auto value = [&](index_t h, index_t t, index_t c) { return static_cast<double>(values.at(h, t, c)); };
  const std::vector<float> prefill = attended(cache, s, 0, s.tokens);
  for (index_t token = 0; token < s.tokens; ++token) {
    const std::vector<double> expected = plain_attention(s, token, key, value);
    const std::vector<float> decode = attended(cache, s, token, 1);
    double worst = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      worst = std::max(worst, std::abs(static_cast<double>(decode[i]) - expected[i]));
      const double of_prefill = static_cast<double>(prefill[static_cast<std::size_t>(token * s.width()) + i]);
      worst = std::max(worst, std::abs(of_prefill - expected[i]));
    }
    CHECK(worst < 2e-5);  // the numbers are at most 2, sums of up to 300 products in float
  }
}

TEST_CASE("prefill and decode follow the definition: MHA, GQA, MQA, odd sizes") {
  for (const attention_shape shape : {attention_shape{4, 4, 64},
                                      {8, 2, 48},
                                      {6, 1, 128},
                                      {2, 2, 1},
                                      {3, 1, 7},
                                      {4, 2, 33},
                                      {5, 5, 100},
                                      {2, 1, 256},
                                      {4, 2, 16, 0.7f}})
    for (const index_t tokens : {1, 2, 5, 64, 65, 130}) {
      CAPTURE(shape.heads);
      CAPTURE(shape.head_dim);
      CAPTURE(tokens);
      check_against_definition<float>({shape, tokens}, layout::head_major{});
    }
}

TEST_CASE("every element type, under every layout") {
  const sequence s{{8, 2, 24}, 37};
  const auto all_layouts = [&]<class E>(E) {
    check_against_definition<E>(s, layout::head_major{});
    check_against_definition<E>(s, layout::token_major{});
    check_against_definition<E>(s, layout::paged<16>{});
    check_against_definition<E>(s, layout::paged<>{5});
  };
  all_layouts(float{});
  all_layouts(float16{});
  all_layouts(bfloat16{});
}

/// A view that offers at() alone.
template <class View>
struct element_view {
  using value_type = typename View::value_type;
  std::remove_const_t<View> view;  // Clang 14 holds a const member of class type to forbid trivial copies
  float at(index_t head, index_t token, index_t channel) const { return view.at(head, token, channel); }
};
/// A view whose rows are contiguous, and that knows of no runs.
template <class View>
struct row_view : element_view<View> {
  const typename View::value_type* row(index_t head, index_t token) const { return this->view.row(head, token); }
};

TEST_CASE("layouts, page sizes and kinds of view change no bit") {
  const sequence s{{6, 2, 40}, 150};
  const auto expected = stored<float>(s, layout::head_major{}, 150);
  const auto same = [&](const auto& cache) {
    for (const auto& [first, rows] : {std::pair<index_t, index_t>{149, 1}, {0, 1}, {0, 150}, {17, 100}, {100, 2}})
      CHECK(attended(cache, s, first, rows) == attended(expected, s, first, rows));
  };
  same(stored<float>(s, layout::head_major{}, 1000));
  same(stored<float>(s, layout::token_major{}, 150));
  same(stored<float>(s, layout::paged<1>{}, 150));
  same(stored<float>(s, layout::paged<>{7}, 150));
  same(stored<float>(s, layout::paged<64>{}, 256));

  const auto keys = expected.keys({0}, only), values = expected.values({0}, only);
  static_assert(TokenRunView<decltype(keys)> && !RowContiguousView<element_view<decltype(keys)>> &&
                RowContiguousView<row_view<decltype(keys)>> && !TokenRunView<row_view<decltype(keys)>>);
  for (const auto& [first, rows] : {std::pair<index_t, index_t>{149, 1}, {0, 150}}) {
    std::vector<float> out(static_cast<std::size_t>(rows * s.width()));
    const float* queries = s.queries.data() + first * s.width();
    cpu::attend(s.shape, element_view<decltype(keys)>{keys}, element_view<decltype(values)>{values}, first, rows,
                queries, out.data());
    CHECK(out == attended(expected, s, first, rows));
    cpu::attend(s.shape, row_view<decltype(keys)>{{keys}}, row_view<decltype(values)>{{values}}, first, rows, queries,
                out.data());
    CHECK(out == attended(expected, s, first, rows));
  }
}

TEST_CASE("a row sees nothing behind its own token") {
  const sequence s{{4, 2, 32}, 140};
  sequence poisoned = s;
  const index_t known = 70;
  const auto from = static_cast<std::ptrdiff_t>(known * s.shape.kv_heads * s.shape.head_dim);
  std::fill(poisoned.keys.begin() + from, poisoned.keys.end(), std::numeric_limits<float>::quiet_NaN());
  std::fill(poisoned.values.begin() + from, poisoned.values.end(), std::numeric_limits<float>::quiet_NaN());
  const auto cache = stored<float>(s, layout::paged<16>{}, 144),
             bad = stored<float>(poisoned, layout::paged<16>{}, 144);
  CHECK(attended(bad, s, 0, known) == attended(cache, s, 0, known));
  CHECK(attended(bad, s, known - 1, 1) == attended(cache, s, known - 1, 1));
  CHECK(std::isnan(attended(bad, s, known, 1)[0]));  // the poison works

  // Within one chunk, too: a later key that is huge, but a number, moves no earlier row.
  sequence loud = s;
  for (auto i = static_cast<std::size_t>(from); i < loud.keys.size(); ++i) loud.keys[i] = loud.values[i] = 1e4f;
  std::vector<float> a = attended(stored<float>(loud, layout::head_major{}, 140), s, 0, 140);
  std::vector<float> b = attended(stored<float>(s, layout::head_major{}, 140), s, 0, 140);
  a.resize(static_cast<std::size_t>(known * s.width()));
  b.resize(a.size());
  CHECK(a == b);
}

TEST_CASE("scores beyond the range of exp are weighed without overflow") {
  sequence s{{1, 1, 2, 1.0f}, 3};
  s.keys = {300, 0, -300, 0, 299, 0};
  s.values = {1, 2, 3, 4, 5, 6};
  s.queries = {1, 0, 1, 0, 1, 0};
  const auto out = attended(stored<float>(s, layout::head_major{}, 3), s, 2, 1);
  const double near = 1 / (1 + std::exp(-1.0)), far = 1 - near;  // the scores 300 and 299; -300 vanishes
  CHECK(out[0] == doctest::Approx(near * 1 + far * 5).epsilon(1e-6));
  CHECK(out[1] == doctest::Approx(near * 2 + far * 6).epsilon(1e-6));
  CHECK(attended(stored<float>(s, layout::head_major{}, 3), s, 0, 3).back() ==
        doctest::Approx(near * 2 + far * 6).epsilon(1e-6));
}

TEST_CASE("heads may be spread over calls, and out may be the queries") {
  const sequence s{{6, 3, 20}, 80};
  const auto cache = stored<float>(s, layout::head_major{}, 80);
  for (const index_t rows : {1, 80}) {
    std::vector<float> in_place(s.queries.end() - static_cast<std::ptrdiff_t>(rows * s.width()), s.queries.end());
    cpu::attention_scratch scratch;
    for (const index_t head : {2, 0, 1})
      cpu::attend(s.shape, cache.keys({0}, only), cache.values({0}, only), 80 - rows, rows, in_place.data(),
                  in_place.data(), scratch, head, head + 1);
    CHECK(in_place == attended(cache, s, 80 - rows, rows));
  }
}

TEST_CASE("shapes and ranges that do not fit are refused") {
  const sequence s{{4, 2, 8}, 4};
  const auto cache = stored<float>(s, layout::head_major{}, 4);
  std::vector<float> out(static_cast<std::size_t>(4 * s.width()));
  const auto code = [&](attention_shape shape, index_t first, index_t rows) {
    try {
      cpu::attend(shape, cache.keys({0}, only), cache.values({0}, only), first, rows, s.queries.data(), out.data());
    } catch (const error& e) {
      return static_cast<int>(e.code());
    }
    return 0;
  };
  CHECK(code({4, 2, 8}, 0, 4) == 0);
  CHECK(code({4, 3, 8}, 0, 4) == static_cast<int>(errc::bad_shape));
  CHECK(code({4, 0, 8}, 0, 4) == static_cast<int>(errc::bad_shape));
  CHECK(code({4, 2, 0}, 0, 4) == static_cast<int>(errc::bad_shape));
  CHECK(code({4, 2, 8}, -1, 4) == static_cast<int>(errc::out_of_range));
  CHECK(code({4, 2, 8}, 0, -4) == static_cast<int>(errc::out_of_range));
  CHECK(code({4, 2, 8}, 0, 0) == 0);
}

}  // namespace
