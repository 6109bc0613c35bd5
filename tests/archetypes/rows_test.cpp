// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "archetypes/row_archetypes.hpp"
#include "kvsharer/backend/cpu/attention.hpp"
#include "kvsharer/backend/cpu/backend.hpp"
#include "kvsharer/backend/cpu/distances.hpp"
#include "kvsharer/metric/mean_row_norm.hpp"
#include "kvsharer/search/calibration_average.hpp"

using namespace kvsharer;

namespace {

constexpr cache_shape shape{.layers = 6, .kv_heads = 2, .head_dim = 19, .capacity = 70};

float number(index_t l, index_t i) { return static_cast<float>(std::sin(static_cast<double>(l * 71 + i))); }
index_t place(index_t h, index_t t, index_t d) { return (h * shape.capacity + t) * shape.head_dim + d; }

/// The mean over rows of the norm of number - number.
double row_norms(index_t reader, index_t owner) {
  double mean = 0;
  for (index_t row = 0; row < shape.kv_heads * shape.capacity; ++row) {
    double sum = 0;
    for (index_t i = row * shape.head_dim; i < (row + 1) * shape.head_dim; ++i) {
      const double x = static_cast<double>(number(reader, i)) - static_cast<double>(number(owner, i));
      sum += x * x;
    }
    mean += std::sqrt(sum) / static_cast<double>(shape.kv_heads * shape.capacity);
  }
  return mean;
}

/// Attention of one query of ones, scaled by a quarter, over the tokens [0, last] of one KV head of layer 2.
double attended(index_t h, index_t last, index_t d) {
  double sum = 0, weights = 0;
  for (index_t t = 0; t <= last; ++t) {
    double score = 0;
    for (index_t i = 0; i < shape.head_dim; ++i) score += static_cast<double>(number(2, place(h, t, i)));
    weights += std::exp(score / 4);
    sum += std::exp(score / 4) * static_cast<double>(number(102, place(h, t, d)));
  }
  return sum / weights;
}

}  // namespace

TEST_CASE_TEMPLATE("rows of any kind are measured", View, archetypes::row_view, archetypes::run_view,
                   archetypes::code_view) {
  const archetypes::row_cache<View> cache(shape, number);
  const distance_matrix distances = cpu::layer_distances(cpu::backend{}, cache, metric::mean_row_norm{});
  for (layer_pair p : all_pairs(static_cast<int>(shape.layers))) {
    const int reader = p.reader.value, owner = p.owner.value;
    const double expected = (row_norms(reader, owner) + row_norms(reader + 100, owner + 100)) / 2;
    CHECK(distances(p) == doctest::Approx(expected).epsilon(1e-5));
  }

  calibration_average mean;
  mean.add(cache);
  for (index_t h = 0; h < shape.kv_heads; ++h)
    for (index_t t = 0; t < shape.capacity; ++t) {
      REQUIRE(mean.keys({5}).at(h, t, 18) == number(5, place(h, t, 18)));
      REQUIRE(mean.values({5}).at(h, t, 18) == number(105, place(h, t, 18)));
    }
}

TEST_CASE_TEMPLATE("rows of any kind are attended to", View, archetypes::row_view, archetypes::run_view,
                   archetypes::code_view) {
  const archetypes::row_cache<View> cache(shape, number);
  const attention_shape heads{
      .heads = shape.kv_heads, .kv_heads = shape.kv_heads, .head_dim = shape.head_dim, .scale = 0.25f};
  for (const index_t first : {index_t{0}, index_t{30}, shape.capacity - 1}) {
    const index_t rows = shape.capacity - first, row = shape.kv_heads * shape.head_dim;
    const std::vector<float> queries(static_cast<std::size_t>(rows * row), 1.0f);
    std::vector<float> out(queries.size());
    cpu::attend(heads, cache.keys({2}), cache.values({2}), first, rows, queries.data(), out.data());
    for (index_t r = 0; r < rows; ++r)
      for (index_t h = 0; h < shape.kv_heads; ++h)
        for (index_t d = 0; d < shape.head_dim; ++d)
          CHECK(static_cast<double>(out[static_cast<std::size_t>(r * row + h * shape.head_dim + d)]) ==
                doctest::Approx(attended(h, first + r, d)).epsilon(1e-4));
  }
}
