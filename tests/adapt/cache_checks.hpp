// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "adapt/written_numbers.hpp"
#include "kvsharer/adapt/cache.hpp"
#include "kvsharer/adapt/planes.hpp"
#include "kvsharer/adapt/rows.hpp"
#include "kvsharer/backend/cpu/attention.hpp"
#include "kvsharer/backend/cpu/backend.hpp"
#include "kvsharer/backend/cpu/distances.hpp"
#include "kvsharer/concepts/require.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/metric/mean_row_norm.hpp"
#include "kvsharer/search/calibration_average.hpp"

/// What holds for every adapter: it shows the numbers that were written, and whatever reads it comes to what plain
/// loops over those numbers come to. Tests write memory in the order that a page shows, number after number, and so
/// share no arithmetic with the library.
namespace adapt_test {

/// Room for 11 tokens, of which 9 are there.
inline constexpr cache_shape shape{.layers = 3, .kv_heads = 2, .head_dim = 32, .capacity = 11};
inline constexpr index_t length = 9;

/// The stored form of token t's number, or nothing for one that is not there.
template <class E>
E stored(part which, index_t l, index_t h, index_t t, index_t d) {
  return stored<E>(which, l, h, t, d, length);
}

/// f(layer) for all of them, as one allocation each and the list of these.
template <class E>
struct layer_list {
  std::vector<std::vector<E>> memory;
  std::vector<const E*> list;

  template <class F>
  explicit layer_list(F&& fill) {
    for (index_t l = 0; l < shape.layers; ++l) fill(memory.emplace_back(), l);
    for (const auto& layer : memory) list.push_back(layer.data());
  }
};

template <class Cache, class Numbers>
void check_places(const Cache& cache, Numbers&& expected) {
  const cache_shape s = cache.shape();
  const auto check = [&](const auto& view, part which, index_t l) {
    for (index_t h = 0; h < s.kv_heads; ++h)
      for (index_t t = 0; t < cache.length(); ++t) {
        for (index_t d = 0; d < s.head_dim; ++d) REQUIRE(view.at(h, t, d) == expected(which, l, h, t, d));
        using view_type = std::remove_cvref_t<decltype(view)>;
        if constexpr (RowContiguousView<view_type>)
          for (index_t d = 0; d < s.head_dim; ++d)
            REQUIRE(static_cast<float>(view.row(h, t)[d]) == expected(which, l, h, t, d));
        if constexpr (TokenRunView<view_type>) {
          const index_t run = view.run(t, cache.length() - t);
          REQUIRE(run >= 1);
          REQUIRE(run <= cache.length() - t);
          for (index_t i = 0; i < run; ++i) REQUIRE(view.row(h, t + i) == view.row(h, t) + i * view.token_stride());
        }
      }
  };
  for (layer_id l{0}; l.value < s.layers; ++l.value) {
    check(cache.keys(l), part::keys, l.value);
    check(cache.values(l), part::values, l.value);
  }
}

/// Causal attention of the newest `rows` tokens of a layer, two query heads for each KV head.
template <class Cache, class Numbers>
void check_attention(const Cache& cache, Numbers&& expected, layer_id l, index_t rows) {
  const cache_shape s = cache.shape();
  const attention_shape heads{.heads = 2 * s.kv_heads, .kv_heads = s.kv_heads, .head_dim = s.head_dim};
  const index_t width = heads.heads * s.head_dim, first = cache.length() - rows;
  std::vector<float> queries(static_cast<std::size_t>(rows * width)), out(queries.size());
  for (std::size_t i = 0; i < queries.size(); ++i) queries[i] = std::sin(static_cast<float>(i) * 0.7f);
  cpu::attend(heads, cache.keys(l), cache.values(l), first, rows, queries.data(), out.data());
  double worst = 0;
  for (index_t r = 0; r < rows; ++r)
    for (index_t q = 0; q < heads.heads; ++q) {
      const index_t at = r * width + q * s.head_dim;
      std::vector<double> sums(static_cast<std::size_t>(s.head_dim));
      double weights = 0;
      for (index_t t = 0; t <= first + r; ++t) {
        double score = 0;
        for (index_t d = 0; d < s.head_dim; ++d)
          score += static_cast<double>(queries[static_cast<std::size_t>(at + d)]) *
                   static_cast<double>(expected(part::keys, l.value, q / 2, t, d));
        const double weight = std::exp(score / std::sqrt(static_cast<double>(s.head_dim)));
        weights += weight;
        for (index_t d = 0; d < s.head_dim; ++d)
          sums[static_cast<std::size_t>(d)] +=
              weight * static_cast<double>(expected(part::values, l.value, q / 2, t, d));
      }
      for (index_t d = 0; d < s.head_dim; ++d) {
        const double off = std::abs(static_cast<double>(out[static_cast<std::size_t>(at + d)]) -
                                    sums[static_cast<std::size_t>(d)] / weights);
        if (!(off <= worst)) worst = off;  // NaN too
      }
    }
  CHECK(worst < 1e-4);
}

template <class Cache, class Numbers>
void check_distances(const Cache& cache, Numbers&& expected) {
  const cache_shape s = cache.shape();
  const distance_matrix distances = cpu::layer_distances(cpu::backend{}, cache, metric::mean_row_norm{});
  for (const layer_pair p : all_pairs(static_cast<int>(s.layers))) {
    double sum = 0;
    for (const part which : {part::keys, part::values})
      for (index_t h = 0; h < s.kv_heads; ++h)
        for (index_t t = 0; t < cache.length(); ++t) {
          double squares = 0;
          for (index_t d = 0; d < s.head_dim; ++d) {
            const double x = static_cast<double>(expected(which, p.reader.value, h, t, d)) -
                             static_cast<double>(expected(which, p.owner.value, h, t, d));
            squares += x * x;
          }
          sum += std::sqrt(squares);
        }
    CHECK(distances(p) == doctest::Approx(sum / static_cast<double>(2 * s.kv_heads * cache.length())).epsilon(1e-5));
  }
}

/// The mean of this cache and one of ones.
template <class Cache, class Numbers>
void check_average(const Cache& cache, Numbers&& expected) {
  const cache_shape s = cache.shape();
  const std::vector<float> ones(static_cast<std::size_t>(s.layers * s.capacity * s.kv_heads * s.head_dim), 1.0f);
  calibration_average mean;
  mean.add(cache);
  mean.add(adapt::cache(s, cache.length(), adapt::flat(ones.data(), s), adapt::flat(ones.data(), s)));
  check_places(mean, [&](part which, index_t l, index_t h, index_t t, index_t d) {
    return doctest::Approx((expected(which, l, h, t, d) + 1.0f) / 2.0f).epsilon(1e-6);
  });
}

/// All of it. `expected(part, layer, head, token, channel)` are the numbers that were written.
template <class Cache, class Numbers>
void check_cache(const Cache& cache, Numbers&& expected) {
  static_assert(require_kv_cache<Cache>());
  check_places(cache, expected);
  for (layer_id l{0}; l.value < cache.shape().layers; ++l.value) {
    check_attention(cache, expected, l, 1);
    check_attention(cache, expected, l, cache.length());
  }
  check_distances(cache, expected);
  check_average(cache, expected);
}
template <class Cache>
void check_cache(const Cache& cache) {
  CHECK(cache.length() == length);
  check_cache(cache, number);
}

}  // namespace adapt_test
