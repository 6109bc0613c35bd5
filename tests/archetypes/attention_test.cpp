// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "archetypes/engine_archetypes.hpp"
#include "kvsharer/backend/cpu/attention.hpp"

using namespace kvsharer;

namespace {

constexpr cache_shape shape{.layers = 1, .kv_heads = 2, .head_dim = 5, .capacity = 80};
constexpr index_t heads = 4, tokens = 75;

double key(index_t h, index_t t, index_t d) { return std::sin(static_cast<double>(h * 31 + t * 7 + d * 3)); }
double value(index_t h, index_t t, index_t d) { return std::cos(static_cast<double>(h * 17 + t * 5 + d * 11)); }
double query(index_t r, index_t h, index_t d) { return std::sin(static_cast<double>(r * 13 + h * 19 + d * 23)) * 2; }

/// Softmax attention of one query head over the tokens [0, last], one channel of its output.
double expected(index_t r, index_t h, index_t d, index_t last) {
  const index_t kv = h / (heads / shape.kv_heads);
  double sum = 0, weights = 0;
  for (index_t t = 0; t <= last; ++t) {
    double score = 0;
    for (index_t i = 0; i < shape.head_dim; ++i) score += query(r, h, i) * key(kv, t, i);
    const double weight = std::exp(score / std::sqrt(static_cast<double>(shape.head_dim)));
    weights += weight;
    sum += weight * value(kv, t, d);
  }
  return sum / weights;
}

void check_attention(index_t first, index_t rows) {
  // The archetype negates values as they are read, so they go in negated.
  const archetypes::cache cache(shape, static_cast<int>(tokens), [](int plane, int, index_t h, index_t t, index_t d) {
    return plane == 0 ? key(h, t, d) : -value(h, t, d);
  });
  std::vector<float> queries, out(static_cast<std::size_t>(rows * heads * shape.head_dim));
  for (index_t r = 0; r < rows; ++r)
    for (index_t h = 0; h < heads; ++h)
      for (index_t d = 0; d < shape.head_dim; ++d) queries.push_back(static_cast<float>(query(r, h, d)));
  const attention_shape attention{.heads = heads, .kv_heads = shape.kv_heads, .head_dim = shape.head_dim};
  cpu::attend(attention, cache.keys({0}), cache.values({0}), first, rows, queries.data(), out.data());
  std::size_t i = 0;
  for (index_t r = 0; r < rows; ++r)
    for (index_t h = 0; h < heads; ++h)
      for (index_t d = 0; d < shape.head_dim; ++d)
        CHECK(static_cast<double>(out[i++]) == doctest::Approx(expected(r, h, d, first + r)).epsilon(1e-4));
}

}  // namespace

TEST_CASE("attention takes any two LayerViews: decode") { check_attention(tokens - 1, 1); }
TEST_CASE("attention takes any two LayerViews: a whole prompt") { check_attention(0, tokens); }
TEST_CASE("attention takes any two LayerViews: a later chunk") { check_attention(50, 25); }
