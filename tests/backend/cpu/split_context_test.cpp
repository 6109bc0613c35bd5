// SPDX-License-Identifier: Apache-2.0
// Single rows over long contexts of few KV heads, which are computed in parts, against a plain loop in float64.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "kvsharer/backend/cpu/attention.hpp"
#include "kvsharer/backend/cpu/parallel.hpp"
#include "kvsharer/core/attention_shape.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/paged.hpp"
#include "kvsharer/runtime/shared_cache.hpp"

using namespace kvsharer;

namespace {

std::vector<float> random_rows(index_t count, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<float> numbers(static_cast<std::size_t>(count));
  for (float& x : numbers) x = static_cast<float>(bits() % 4001) / 1000 - 2;
  return numbers;
}

/// One layer with `sequences` sequences of their own lengths, and one asking row for each.
template <class E, class Layout>
struct engine {
  attention_shape shape;
  std::vector<index_t> lengths;
  shared_cache<E, Layout> cache;
  std::vector<sequence_id> ids = {};
  std::vector<float> queries = random_rows(static_cast<index_t>(lengths.size()) * shape.heads * shape.head_dim, 3);

  engine(attention_shape s, std::vector<index_t> tokens, Layout layout = {})
      : shape(s),
        lengths(std::move(tokens)),
        cache(share_map::identity(1),
              {1, s.kv_heads, s.head_dim, *std::max_element(lengths.begin(), lengths.end()), s.value_dim},
              {.max_sequences = static_cast<index_t>(lengths.size()), .positions = true}, layout) {
    for (const index_t n : lengths) {
      const auto seed = static_cast<unsigned>(n);
      ids.push_back(cache.create());
      cache.append(ids.back(), n);
      const std::vector<float> keys = random_rows(n * s.kv_heads * s.head_dim, seed),
                               values = random_rows(n * s.kv_heads * s.value_width(), seed + 1);
      cache.store({0}, ids.back(), 0, n, keys.data(), values.data());
    }
  }

  auto keys(index_t i) const { return cache.keys({0}, ids[static_cast<std::size_t>(i)]); }
  auto values(index_t i) const { return cache.values({0}, ids[static_cast<std::size_t>(i)]); }
  index_t tokens(index_t i) const { return cache.length(ids[static_cast<std::size_t>(i)]); }
  const float* query(index_t i) const { return queries.data() + i * shape.heads * shape.head_dim; }
  std::size_t out_size() const { return static_cast<std::size_t>(shape.heads * shape.value_width()); }

  /// Through the form for all heads of one sequence.
  std::vector<float> alone(index_t i) const {
    std::vector<float> out(out_size(), -100);
    cpu::attend(shape, keys(i), values(i), tokens(i) - 1, 1, query(i), out.data());
    return out;
  }
  /// Through the form for a range of heads, on this thread.
  std::vector<float> head_by_head(index_t i) const {
    std::vector<float> out(out_size(), -100);
    cpu::attention_scratch scratch;
    for (index_t h = shape.kv_heads; h-- > 0;)
      cpu::attend(shape, keys(i), values(i), tokens(i) - 1, 1, query(i), out.data(), scratch, h, h + 1);
    return out;
  }
  /// Through the form for batches: the sequences of `members`, in this order.
  std::vector<float> batch(const std::vector<index_t>& members, cpu::batch_scratch& scratch) const {
    std::vector<cpu::query_rows> rows;
    for (const index_t i : members) rows.push_back({.first = tokens(i) - 1, .rows = 1, .begin = i});
    std::vector<float> out(out_size() * lengths.size(), -100);
    cpu::attend(
        shape, rows, [&](index_t i) { return keys(members[static_cast<std::size_t>(i)]); },
        [&](index_t i) { return values(members[static_cast<std::size_t>(i)]); }, queries.data(), out.data(), scratch);
    return out;
  }

  /// How far off `out` [heads][value width] is from the definition.
  double worst(index_t i, const std::vector<float>& out) const {
    const auto k = keys(i), v = values(i);
    double apart = 0;
    for (index_t h = 0; h < shape.heads; ++h) {
      const index_t head = h / shape.group(), last = tokens(i);
      std::vector<double> weights, expected(static_cast<std::size_t>(shape.value_width()));
      double highest = -std::numeric_limits<double>::infinity(), sum = 0;
      for (index_t t = shape.first_seen(last - 1); t < last; ++t) {
        double dot = 0;
        for (index_t c = 0; c < shape.head_dim; ++c)
          dot += double{query(i)[h * shape.head_dim + c]} * double{k.at(head, t, c)};
        weights.push_back(dot / std::sqrt(static_cast<double>(shape.head_dim)));
        highest = std::max(highest, weights.back());
      }
      for (double& w : weights) sum += w = std::exp(w - highest);
      for (std::size_t t = 0; t < weights.size(); ++t)
        for (index_t c = 0; c < shape.value_width(); ++c)
          expected[static_cast<std::size_t>(c)] +=
              weights[t] / sum * double{v.at(head, shape.first_seen(last - 1) + static_cast<index_t>(t), c)};
      for (index_t c = 0; c < shape.value_width(); ++c) {
        const double off = std::abs(double{out[static_cast<std::size_t>(h * shape.value_width() + c)]} -
                                    expected[static_cast<std::size_t>(c)]);
        apart = off <= apart ? apart : off;  // NaN counts
      }
    }
    return apart;
  }
};

// Numbers are at most 2; sums of thousands of products in float.
constexpr double tolerance = 3e-5;

}  // namespace

TEST_CASE("parts: at least 512 tokens each, at most 32 of all heads, whole blocks, all tokens once") {
  using cpu::detail::decode_parts;
  for (const index_t kv_heads : {1, 2, 3, 8, 16, 17, 40})
    for (const index_t tokens : {0, 1, 512, 1023, 1024, 1025, 1536, 4096, 5000, 16384, 100000}) {
      CAPTURE(kv_heads);
      CAPTURE(tokens);
      const decode_parts parts({.heads = kv_heads, .kv_heads = kv_heads, .head_dim = 4}, tokens);
      const index_t n = parts.count();
      CHECK(n >= 1);
      CHECK((n == 1) == (tokens < 1024 || kv_heads > 16));
      CHECK((n == 1 || n * kv_heads <= 32));
      CHECK((n == 1 || parts.longest() >= 512));
      CHECK((n == 1 || parts.longest() % 16 == 0));
      CHECK(parts.begin(0) == 0);
      CHECK(parts.begin(n) == tokens);
      for (index_t p = 0; p < n; ++p) {
        CHECK(parts.begin(p + 1) - parts.begin(p) <= parts.longest());
        CHECK((parts.begin(p + 1) > parts.begin(p) || tokens == 0));
      }
    }
  CHECK(decode_parts({.heads = 8, .kv_heads = 1, .head_dim = 4}, 4096).count() == 8);
  CHECK(decode_parts({.heads = 8, .kv_heads = 8, .head_dim = 4}, 4096).count() == 4);
  CHECK(decode_parts({.heads = 8, .kv_heads = 1, .head_dim = 4}, 32768).count() == 32);
}

TEST_CASE_TEMPLATE("MQA and few heads at batch 1 follow the definition", E, float, float16, bfloat16) {
  for (const attention_shape shape : {attention_shape{.heads = 8, .kv_heads = 1, .head_dim = 32},
                                      {.heads = 3, .kv_heads = 1, .head_dim = 7},
                                      {.heads = 4, .kv_heads = 2, .head_dim = 16},
                                      {.heads = 4, .kv_heads = 2, .head_dim = 16, .value_dim = 5},
                                      {.heads = 2, .kv_heads = 1, .head_dim = 8, .value_dim = 24},
                                      {.heads = 8, .kv_heads = 8, .head_dim = 4},
                                      {.heads = 5, .kv_heads = 1, .head_dim = 12, .window = 1500},
                                      {.heads = 5, .kv_heads = 1, .head_dim = 12, .window = 100}})
    for (const index_t tokens : {1023, 1024, 1047, 2600}) {
      CAPTURE(shape.kv_heads);
      CAPTURE(shape.head_dim);
      CAPTURE(shape.window);
      CAPTURE(tokens);
      const engine<E, layout::paged<16>> e(shape, {tokens});
      const std::vector<float> out = e.alone(0);
      CHECK(e.worst(0, out) < tolerance);
      CHECK(e.head_by_head(0) == out);  // the same bits
      CHECK(engine<E, layout::head_major>(shape, {tokens}).alone(0) == out);
    }
}

TEST_CASE("results depend neither on threads, nor on the batch, nor on a row's place in it") {
  const attention_shape shape{.heads = 6, .kv_heads = 2, .head_dim = 20};
  const engine<float, layout::paged<16>> e(shape, {1500, 3, 4000, 1024, 700});
  std::vector<std::vector<float>> alone;
  for (index_t i = 0; i < 5; ++i) {
    alone.push_back(e.alone(i));
    CHECK(e.worst(i, alone.back()) < tolerance);
  }
  cpu::batch_scratch scratch;
  const auto check = [&](const std::vector<index_t>& members) {
    const std::vector<float> out = e.batch(members, scratch);
    for (const index_t i : members) {
      CAPTURE(i);
      const auto* begin = out.data() + static_cast<std::size_t>(i) * e.out_size();
      CHECK(std::vector<float>(begin, begin + e.out_size()) == alone[static_cast<std::size_t>(i)]);
    }
  };
  check({0, 1, 2, 3, 4});
  check({4, 2, 0});
  check({2});
  check({});
  // Threads that are in a loop already have no helpers: each computes all parts itself.
  cpu::parallel_for(2, [&](index_t) {
    cpu::batch_scratch own;
    const std::vector<float> out = e.batch({2}, own);
    const auto* begin = out.data() + 2 * e.out_size();
    if (std::vector<float>(begin, begin + e.out_size()) != alone[2]) throw std::runtime_error("other bits");
  });
}

TEST_CASE("a row of a chunk that a window keeps from seeing all has the bits of the same row alone") {
  const attention_shape shape{.heads = 2, .kv_heads = 1, .head_dim = 8, .window = 1100};
  const engine<float, layout::paged<16>> e(shape, {1400});
  const std::vector<float> asks = random_rows(5 * 16, 9);
  std::vector<float> chunk(asks.size()), one(16);
  cpu::attend(shape, e.keys(0), e.values(0), 1395, 5, asks.data(), chunk.data());
  for (index_t r = 0; r < 5; ++r) {
    cpu::attend(shape, e.keys(0), e.values(0), 1395 + r, 1, asks.data() + r * 16, one.data());
    CHECK(std::equal(one.begin(), one.end(), chunk.begin() + r * 16));
  }
}

TEST_CASE("batches hold prompts and single rows, and results may take the place of queries") {
  const attention_shape shape{.heads = 4, .kv_heads = 1, .head_dim = 16};
  const engine<float, layout::paged<16>> e(shape, {2000, 90});
  // Rows of the batch: three of sequence 1, one of sequence 0, with an unused row between.
  const std::vector<float> asks = random_rows(5 * 64, 4);
  const cpu::query_rows rows[] = {{.first = 1999, .rows = 1, .begin = 4}, {.first = 87, .rows = 3, .begin = 0}};
  std::vector<float> in_place = asks;
  cpu::batch_scratch scratch;
  const auto keys = [&](index_t i) { return e.keys(i); };
  const auto values = [&](index_t i) { return e.values(i); };
  cpu::attend(shape, rows, keys, values, in_place.data(), in_place.data(), scratch);
  std::vector<float> expected = asks;
  cpu::attend(shape, e.keys(0), e.values(0), 1999, 1, asks.data() + 4 * 64, expected.data() + 4 * 64);
  cpu::attend(shape, e.keys(1), e.values(1), 87, 3, asks.data(), expected.data());
  CHECK(in_place == expected);
  CHECK(std::equal(in_place.begin() + 3 * 64, in_place.begin() + 4 * 64, asks.begin() + 3 * 64));  // untouched

  const cpu::query_rows wrong[] = {{.first = -1, .rows = 1, .begin = 0}};
  CHECK_THROWS_WITH_AS(cpu::attend(shape, wrong, keys, values, asks.data(), in_place.data(), scratch),
                       doctest::Contains("E506"), error);
}

TEST_CASE("a hole is a token that is not there, also where parts begin at it") {
  const attention_shape shape{.heads = 2, .kv_heads = 1, .head_dim = 8};
  engine<float, layout::paged<16>> e(shape, {3000});
  std::vector<index_t> slots;
  for (index_t t = 0; t < 3000; ++t)
    if (t % 5 != 2 && (t < 512 || t > 777)) slots.push_back(t);
  const auto before = e.keys(0);
  std::vector<float> first_channel;
  for (const index_t t : slots) first_channel.push_back(before.at(0, t, 0));
  e.cache.keep(e.ids[0], slots);
  for (std::size_t s = 0; s < slots.size(); s += 97)
    CHECK(e.keys(0).at(0, static_cast<index_t>(s), 0) == first_channel[s]);
  CHECK(e.tokens(0) == static_cast<index_t>(slots.size()));
  CHECK(e.worst(0, e.alone(0)) < tolerance);
}

TEST_CASE("lists of different lengths are cut each by its own") {
  const attention_shape shape{.heads = 4, .kv_heads = 2, .head_dim = 8};
  shared_cache<float, layout::paged<16>> cache(share_map::identity(1), {1, 2, 8, 2100},
                                               {.max_sequences = 1, .positions = true, .lists = list_scope::head});
  const auto id = cache.create();
  cache.append(id, 2100);
  const auto keys = random_rows(2100 * 16, 1), values = random_rows(2100 * 16, 2), queries = random_rows(32, 3);
  cache.store({0}, id, 0, 2100, keys.data(), values.data());
  std::vector<index_t> kept;
  for (index_t t = 0; t < 2100; t += 3) kept.push_back(t);
  cache.keep(id, 1, kept);  // 700 tokens: one part, beside four of the other head
  const index_t firsts[] = {2099, 699};
  std::vector<float> out(32), expected(32);
  cpu::attend(shape, cache.keys({0}, id), cache.values({0}, id), firsts, 1, queries.data(), out.data());
  cpu::attention_scratch scratch;
  for (index_t h = 0; h < 2; ++h)
    cpu::attend(shape, cache.keys({0}, id), cache.values({0}, id), firsts[h], 1, queries.data(), expected.data(),
                scratch, h, h + 1);
  CHECK(out == expected);
}

TEST_CASE("parts whose scores are far apart, infinite or no numbers") {
  const attention_shape shape{.heads = 1, .kv_heads = 1, .head_dim = 1, .scale = 1};
  const auto result = [&](const std::function<float(index_t)>& key) {
    shared_cache<float, layout::head_major> cache(share_map::identity(1), {1, 1, 1, 2048});
    const auto id = cache.create();
    cache.append(id, 2048);
    std::vector<float> keys, values;
    for (index_t t = 0; t < 2048; ++t) {
      keys.push_back(key(t));
      values.push_back(static_cast<float>(t % 512 == 0 ? t / 512 + 1 : 0));  // 1, 2, 3, 4 where parts begin
    }
    cache.store({0}, id, 0, 2048, keys.data(), values.data());
    const float query = 1;
    float out = -100;
    cpu::attend(shape, cache.keys({0}, id), cache.values({0}, id), 2047, 1, &query, &out);
    return out;
  };
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(result([](index_t t) { return t == 512 ? 300.0f : -300.0f; }) == 2.0f);  // three parts vanish
  CHECK(result([](index_t t) { return t == 512 || t == 1536 ? 1e30f : 0.0f; }) == doctest::Approx(3.0));
  CHECK(result([&](index_t t) { return t < 512 ? 0.0f : -infinity; }) == doctest::Approx(1.0 / 512));
  CHECK(result([&](index_t t) { return t == 1024 ? 0.0f : -infinity; }) == 3.0f);
  CHECK(std::isnan(result([&](index_t t) { return t == 600 ? std::nanf("") : 0.0f; })));
  CHECK(std::isnan(result([&](index_t t) { return t == 0 ? std::nanf("") : 1000.0f; })));
}
