// SPDX-License-Identifier: Apache-2.0
// Values that are wider or narrower than keys, and plans that ask a cache for what it is not.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <sstream>
#include <vector>

#include "kvsharer/backend/cpu/attention.hpp"
#include "kvsharer/core/cache_plan.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/paged.hpp"
#include "runtime/cache_fixtures.hpp"

using namespace kvsharer;
using cache_fixtures::channel_major;
using cache_fixtures::rows;

namespace {

cache_shape shape_of(index_t value_dim) { return {2, 2, 8, 24, value_dim}; }
std::vector<float> keys_of(const cache_shape& s, index_t tokens, int seed) { return rows(s, tokens, seed); }
std::vector<float> values_of(cache_shape s, index_t tokens, int seed) {
  s.head_dim = s.widths().values;
  return rows(s, tokens, seed);
}

/// Are the rows of a sequence's tokens [first, first + tokens) these?
template <class Cache>
bool holds(const Cache& cache, sequence_id id, index_t first, index_t tokens, const std::vector<float>& keys,
           const std::vector<float>& values) {
  bool same = true;
  const auto compare = [&](const auto& view, index_t width, const std::vector<float>& want) {
    for (index_t t = 0; t < tokens; ++t)
      for (index_t h = 0; h < cache.shape().kv_heads; ++h)
        for (index_t c = 0; c < width; ++c)
          same = same && view.at(h, first + t, c) ==
                             want[static_cast<std::size_t>((t * cache.shape().kv_heads + h) * width + c)];
  };
  compare(cache.keys({1}, id), cache.shape().widths().keys, keys);
  compare(cache.values({1}, id), cache.shape().widths().values, values);
  return same;
}

}  // namespace

TEST_CASE_TEMPLATE("rows, forks, moves and streams of values of another width", Layout, layout::paged<4>,
                   layout::head_major, layout::token_major, channel_major) {
  for (const index_t value_dim : {3, 12})
    for (const list_scope lists : {list_scope::cache, list_scope::head}) {
      if (std::is_same_v<Layout, channel_major> && lists != list_scope::cache) continue;
      CAPTURE(value_dim);
      const cache_shape s = shape_of(value_dim);
      shared_cache<float, Layout> cache(share_map::from_owners(std::vector<int>{0, 0}).value(), s,
                                        {.max_sequences = 3, .positions = true, .lists = lists});
      const auto a = cache.create();
      cache.append(a, 10);
      const auto keys = keys_of(s, 10, 1), values = values_of(s, 10, 2);
      cache.store({0}, a, 0, 10, keys.data(), values.data());
      CHECK(holds(cache, a, 0, 10, keys, values));
      const cache_footprint f = cache.footprint();
      CHECK(f.logical == 10 * 2 * static_cast<std::size_t>(8 + value_dim) * sizeof(float));
      if (lists == list_scope::cache) CHECK(f.keys * static_cast<std::size_t>(value_dim) == f.values * 8);

      const auto b = cache.fork(a);
      cache.append(b, 3);
      const auto more_keys = keys_of(s, 3, 3), more_values = values_of(s, 3, 4);
      cache.store({0}, b, 10, 3, more_keys.data(), more_values.data());
      CHECK(holds(cache, b, 0, 10, keys, values));
      CHECK(holds(cache, b, 10, 3, more_keys, more_values));
      CHECK(holds(cache, a, 0, 10, keys, values));

      cache.keep(b, std::vector<index_t>{0, 10, 11, 12});
      CHECK(holds(cache, b, 1, 3, more_keys, more_values));
      std::ostringstream out;
      cache.save(b, out);
      std::istringstream in(out.str());
      const auto c = cache.restore(in);
      CHECK(holds(cache, c, 1, 3, more_keys, more_values));

      shared_cache<float, Layout> other(share_map::from_owners(std::vector<int>{0, 0}).value(), shape_of(value_dim + 1),
                                        {.max_sequences = 1, .positions = true, .lists = lists});
      std::istringstream again(out.str());
      CHECK_REFUSED(bad_stream, other.restore(again));
    }
}

TEST_CASE("attention over values of another width, of one row and of many") {
  for (const index_t value_dim : {3, 12, 40}) {
    const cache_shape s = shape_of(value_dim);
    shared_cache<float, layout::paged<4>> cache(share_map::from_owners(std::vector<int>{0, 0}).value(), s);
    const auto id = cache.create();
    cache.append(id, 20);
    const auto keys = keys_of(s, 20, 1), values = values_of(s, 20, 2);
    cache.store({0}, id, 0, 20, keys.data(), values.data());
    const attention_shape a{.heads = 4, .kv_heads = 2, .head_dim = 8, .value_dim = value_dim};
    for (const index_t count : {index_t{1}, index_t{7}}) {
      const auto queries = rows({1, 4, 8, 20}, count, 5);
      std::vector<float> out(static_cast<std::size_t>(count * 4 * value_dim));
      cpu::attend(a, cache.keys({1}, id), cache.values({1}, id), 20 - count, count, queries.data(), out.data());
      double worst = 0;
      for (index_t r = 0; r < count; ++r)
        for (index_t h = 0; h < 4; ++h) {
          std::vector<double> want(static_cast<std::size_t>(value_dim));
          double total = 0;
          for (index_t t = 0; t <= 20 - count + r; ++t) {
            double score = 0;
            for (index_t c = 0; c < 8; ++c)
              score += static_cast<double>(queries[static_cast<std::size_t>((r * 4 + h) * 8 + c)]) *
                       keys[static_cast<std::size_t>((t * 2 + h / 2) * 8 + c)];
            const double weight = std::exp(score / std::sqrt(8.0));
            total += weight;
            for (index_t c = 0; c < value_dim; ++c)
              want[static_cast<std::size_t>(c)] +=
                  weight * values[static_cast<std::size_t>((t * 2 + h / 2) * value_dim + c)];
          }
          for (index_t c = 0; c < value_dim; ++c) {
            const double apart = std::abs(out[static_cast<std::size_t>((r * 4 + h) * value_dim + c)] -
                                          want[static_cast<std::size_t>(c)] / total);
            worst = apart <= worst ? worst : apart;
          }
        }
      CHECK(worst < 1e-5);
    }
  }
}

TEST_CASE("a plan that asks for another codec is refused before anything is allocated") {
  const known_method packed{"packed"};
  const share_plan sharing = share_map::from_owners(std::vector<int>{0, 0}).value();
  known_methods known;
  known.codecs = {&packed, 1};
  const cache_plan plan =
      cache_plan::make(sharing, {.value_codecs = parse_layer_ranges("0:packed").value()}, known).value();
  CHECK_REFUSED(bad_rule, shared_cache<float>(plan, shape_of(0)));
  CHECK_NOTHROW(shared_cache<float>(cache_plan(sharing), shape_of(0)));
  CHECK_REFUSED(bad_shape, shared_cache<float>(sharing, shape_of(-1)));
}
