// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/backend/cpu/distances.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <vector>

#include "kvsharer/backend/cpu/backend.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/paged.hpp"
#include "kvsharer/metric/cosine.hpp"
#include "kvsharer/metric/flat_euclidean.hpp"
#include "kvsharer/metric/mean_row_norm.hpp"
#include "kvsharer/metric/scaled_euclidean.hpp"
#include "kvsharer/runtime/shared_cache.hpp"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace {

using namespace kvsharer;
constexpr cpu::backend host;

/// Keys and values [layer][kv_head][token][channel], as a cache of one sequence.
struct planes {
  static constexpr memory_space space = memory_space::host;
  cache_shape sizes;
  std::vector<float> all_keys, all_values;

  cache_shape shape() const { return sizes; }
  index_t length() const { return sizes.capacity; }
  using view = layer_view<float, layout::strided_index>;
  view of(const std::vector<float>& plane, layer_id l) const {
    const index_t head = sizes.capacity * sizes.head_dim;
    return {plane.data() + l.value * sizes.kv_heads * head, {.head = head, .token = sizes.head_dim}};
  }
  view keys(layer_id l) const { return of(all_keys, l); }
  view values(layer_id l) const { return of(all_values, l); }
};

planes random_planes(cache_shape s, unsigned seed = 1) {
  std::mt19937 bits(seed);
  planes p{s, {}, {}};
  for (auto* plane : {&p.all_keys, &p.all_values})
    for (index_t i = 0; i < s.layers * s.kv_heads * s.capacity * s.head_dim; ++i)
      plane->push_back(static_cast<float>(static_cast<int>(bits() % 8001) - 4000) / 1000.0f);
  return p;
}

/// The definitions in float64, number by number, of one plane.
struct plain_sums {
  double norms = 0, scaled = 0, squares = 0, cosines = 0,
         absolute = 0;  // sums over rows, but squares and absolute over numbers
};
template <class View>
plain_sums compare(const View& a, const View& b, cache_shape s) {
  plain_sums total;
  for (index_t h = 0; h < s.kv_heads; ++h)
    for (index_t t = 0; t < s.capacity; ++t) {
      double squares = 0, dot = 0, aa = 0, bb = 0;
      for (index_t c = 0; c < s.head_dim; ++c) {
        const auto x = static_cast<double>(a.at(h, t, c)), y = static_cast<double>(b.at(h, t, c));
        squares += (x - y) * (x - y);
        dot += x * y;
        aa += x * x;
        bb += y * y;
        total.absolute += std::abs(x - y);
      }
      total.norms += std::sqrt(squares);
      total.scaled += squares > 0 ? std::sqrt(squares / (aa + bb)) : 0;
      total.squares += squares;
      // Two zero rows are 0 apart, a zero row and another 1.
      total.cosines += aa * bb > 0 ? 1 - dot / std::sqrt(aa * bb) : aa == bb ? 0 : 1;
    }
  return total;
}

/// Mean absolute difference: a user's metric, over the whole plane or row by row.
template <fold_scope Scope>
struct mean_absolute {
  struct partial {
    float sum = 0;
  };
  static constexpr fold_scope scope = Scope;
  partial step(partial p, float a, float b) const { return {p.sum + std::abs(a - b)}; }
  partial merge(partial p, partial q) const { return {p.sum + q.sum}; }
  double finish(partial p, index_t count) const { return static_cast<double>(p.sum) / static_cast<double>(count); }
};

template <class Cache>
void check_against_definitions(const Cache& cache) {
  const cache_shape s{cache.shape().layers, cache.shape().kv_heads, cache.shape().head_dim, cache.length()};
  const auto official = layer_distances(host, cache, metric::mean_row_norm{});
  const auto flat = layer_distances(host, cache, metric::flat_euclidean{});
  const auto cosine = layer_distances(host, cache, metric::cosine{});
  const auto scaled = layer_distances(host, cache, metric::scaled_euclidean{});
  const auto by_row = layer_distances(host, cache, mean_absolute<fold_scope::row>{});
  const auto by_plane = layer_distances(host, cache, mean_absolute<fold_scope::plane>{});
  const auto rows = static_cast<double>(s.kv_heads * s.capacity), numbers = rows * static_cast<double>(s.head_dim);
  for (const layer_pair p : all_pairs(static_cast<int>(s.layers))) {
    const plain_sums k = compare(cache.keys(p.reader), cache.keys(p.owner), s);
    const plain_sums v = compare(cache.values(p.reader), cache.values(p.owner), s);
    CHECK(official(p) == doctest::Approx((k.norms + v.norms) / rows / 2).epsilon(1e-6));
    CHECK(flat(p) == doctest::Approx((std::sqrt(k.squares) + std::sqrt(v.squares)) / 2).epsilon(1e-5));
    CHECK(cosine(p) == doctest::Approx((k.cosines + v.cosines) / rows / 2).epsilon(1e-5));
    CHECK(scaled(p) == doctest::Approx((k.scaled + v.scaled) / rows / 2).epsilon(1e-5));
    CHECK(by_row(p) == doctest::Approx((k.absolute + v.absolute) / numbers / 2).epsilon(1e-5));
    CHECK(by_plane(p) == doctest::Approx((k.absolute + v.absolute) / numbers / 2).epsilon(1e-5));
  }
}

TEST_CASE("the numbers worked by hand: three layers, one head, two positions, two channels") {
  const planes p{{3, 1, 2, 2}, {1, 0, 0, 1, 4, 4, 0, 1, 1, 3, 3, 1}, {0, 0, 1, 1, 3, 4, 1, 1, 3, 0, 1, 4}};
  const auto official = layer_distances(host, p, metric::mean_row_norm{});
  CHECK(official({{1}, {0}}) == doctest::Approx(2.5).epsilon(1e-6));
  CHECK(official({{2}, {0}}) == doctest::Approx(3).epsilon(1e-6));
  CHECK(official({{2}, {1}}) == doctest::Approx(3.290569).epsilon(1e-6));
  const auto flat = layer_distances(host, p, metric::flat_euclidean{});
  CHECK(flat({{1}, {0}}) == doctest::Approx(5).epsilon(1e-6));
  CHECK(flat({{2}, {0}}) == doctest::Approx(4.242641).epsilon(1e-6));
  CHECK(flat({{2}, {1}}) == doctest::Approx(4.679449).epsilon(1e-6));
  // Ours. Of the four rows of each pair: 1 - 1/sqrt 2, 0, 1 (one row is zero), 0; 1 - 1/sqrt 10 twice, 1, 1 - 5/sqrt
  // 34; 1 - 2/sqrt 5, 1 - 1/sqrt 10, 1 - 9/15, 1 - 5/sqrt 34.
  const auto cosine = layer_distances(host, p, metric::cosine{});
  CHECK(cosine({{1}, {0}}) == doctest::Approx(0.323223).epsilon(1e-6));
  CHECK(cosine({{2}, {0}}) == doctest::Approx(0.627513).epsilon(1e-6));
  CHECK(cosine({{2}, {1}}) == doctest::Approx(0.332963).epsilon(1e-6));
  // The same rows: the roots of 25/33, 0, 1, 0; of 9/11 twice, 1, 9/19; of 5/21, 9/11, 8/17, 9/19.
  const auto scaled = layer_distances(host, p, metric::scaled_euclidean{});
  CHECK(scaled({{1}, {0}}) == doctest::Approx(0.467597).epsilon(1e-6));
  CHECK(scaled({{2}, {0}}) == doctest::Approx(0.874329).epsilon(1e-6));
  CHECK(scaled({{2}, {1}}) == doctest::Approx(0.691681).epsilon(1e-6));
  // The mean of norms is at most the norm of all over the root of the number of rows.
  for (const layer_pair pair : all_pairs(3)) CHECK(official(pair) <= flat(pair) / std::sqrt(2.0) + 1e-6);
}

TEST_CASE("every metric follows its definition, whatever the sizes") {
  for (const cache_shape s : {cache_shape{1, 1, 4, 3},
                              {2, 1, 1, 1},
                              {3, 2, 3, 2},
                              {7, 1, 16, 15},
                              {24, 4, 64, 16},
                              {32, 2, 48, 17},
                              {33, 1, 100, 5},
                              {9, 8, 128, 64},
                              {4, 3, 256, 33},
                              {5, 2, 31, 300}})
    check_against_definitions(random_planes(s));
}

TEST_CASE("tokens and channels around the width of a register, and layers around that of a tile") {
  constexpr index_t layers[] = {1, 2, 3, 7, 24, 32, 33};
  index_t shape = 0;
  for (index_t tokens : {1, 2, 15, 16, 17, 64})
    for (index_t channels : {1, 3, 16, 48, 64, 100, 128, 256}) {
      const index_t count = layers[shape % 7], heads = 1 + (shape + shape / 8) % 8;
      // The largest combinations would take seconds in the plain loop of the test.
      const index_t affordable = std::max<index_t>(1, 1'000'000 / (count * count * tokens * channels));
      CAPTURE(count);
      CAPTURE(tokens);
      CAPTURE(channels);
      check_against_definitions(
          random_planes({count, std::min(heads, affordable), channels, tokens}, static_cast<unsigned>(++shape)));
    }
}

/// In a cache with room for more tokens than it holds.
template <class E, class Layout>
void check_stored(const planes& p, Layout layout, index_t room = 0) {
  const cache_shape s = p.sizes;
  shared_cache<E, Layout> cache(
      share_map::identity(static_cast<int>(s.layers)),
      {.layers = s.layers, .kv_heads = s.kv_heads, .head_dim = s.head_dim, .capacity = s.capacity + room}, {}, layout);
  const sequence_id id = cache.create();
  cache.append(id, s.capacity);
  std::vector<float> keys(static_cast<std::size_t>(s.kv_heads * s.head_dim)), values = keys;
  for (layer_id l{0}; l.value < s.layers; ++l.value)
    for (index_t t = 0; t < s.capacity; ++t) {
      for (index_t i = 0; i < s.kv_heads * s.head_dim; ++i) {
        keys[static_cast<std::size_t>(i)] = p.keys(l).at(i / s.head_dim, t, i % s.head_dim);
        values[static_cast<std::size_t>(i)] = p.values(l).at(i / s.head_dim, t, i % s.head_dim);
      }
      cache.store(l, id, t, 1, keys.data(), values.data());
    }
  check_against_definitions(cache.sequence(id));
}

TEST_CASE("every element type under every layout") {
  const planes p = random_planes({6, 3, 40, 21});
  check_stored<float>(p, layout::head_major{}, 5);
  check_stored<float>(p, layout::token_major{});
  check_stored<float16>(p, layout::token_major{}, 9);
  check_stored<bfloat16>(p, layout::head_major{});
  check_stored<float>(p, layout::paged<>{4});
  check_stored<float16>(p, layout::head_major{});
  check_stored<bfloat16>(p, layout::paged<16>{});
}

/// Numbers behind at() alone, which counts how often each is read.
struct counted_planes {
  static constexpr memory_space space = memory_space::host;
  const planes* numbers;
  std::vector<int>* reads;

  struct view {
    using value_type = float;
    planes::view numbers;
    const float* begin;
    int* reads;
    float at(index_t h, index_t t, index_t c) const {
#pragma omp atomic
      ++reads[numbers.row(h, t) + c - begin];
      return numbers.at(h, t, c);
    }
  };
  cache_shape shape() const { return numbers->sizes; }
  index_t length() const { return numbers->sizes.capacity; }
  view keys(layer_id l) const { return {numbers->keys(l), numbers->all_keys.data(), reads->data()}; }
  view values(layer_id l) const {
    return {numbers->values(l), numbers->all_values.data(), reads->data() + numbers->all_keys.size()};
  }
};

TEST_CASE("a view that offers at() alone is enough, and every number is read once") {
  for (const cache_shape s : {cache_shape{5, 2, 20, 37}, {33, 3, 130, 16}, {2, 1, 3, 1}, {3, 8, 70, 150}}) {
    const planes p = random_planes(s);
    std::vector<int> reads(p.all_keys.size() + p.all_values.size());
    const auto counted = layer_distances(host, counted_planes{&p, &reads}, metric::mean_row_norm{});
    const auto expected = layer_distances(host, p, metric::mean_row_norm{});
    for (const layer_pair pair : all_pairs(static_cast<int>(s.layers))) CHECK(counted(pair) == expected(pair));
    std::size_t not_once = 0;
    for (int n : reads) not_once += n != 1;
    CHECK(not_once == 0);
  }
}

#if defined(_OPENMP)
template <class M>
void check_threads(const planes& p, const M& metric) {
  omp_set_num_threads(1);
  const auto expected = layer_distances(host, p, metric);
  for (int threads : {2, 3, 5}) {
    omp_set_num_threads(threads);
    const auto again = layer_distances(host, p, metric);
    for (const layer_pair pair : all_pairs(static_cast<int>(p.sizes.layers))) CHECK(again(pair) == expected(pair));
  }
}

TEST_CASE("the number of threads changes no bit") {
  const int before = omp_get_max_threads();
  // Fewer chunks of rows than threads, and more rows than chunks.
  for (const cache_shape s : {cache_shape{5, 1, 20, 33}, {12, 4, 48, 64}, {4, 7, 70, 200}}) {
    const planes p = random_planes(s);
    check_threads(p, metric::mean_row_norm{});
    check_threads(p, metric::flat_euclidean{});
    check_threads(p, metric::cosine{});
    check_threads(p, metric::scaled_euclidean{});
    check_threads(p, mean_absolute<fold_scope::plane>{});
  }
  omp_set_num_threads(before);
}
#endif

TEST_CASE("a number that is not finite spoils its layer's distances, and no other") {
  const cache_shape s{6, 2, 70, 21};
  const std::size_t plane = 2 * 70 * 21;
  const auto check = [](const distance_matrix& d, int layer, auto&& spoilt) {
    for (const layer_pair pair : all_pairs(6))
      if (pair.reader.value == layer || pair.owner.value == layer)
        CHECK(spoilt(d(pair)));
      else
        CHECK(std::isfinite(d(pair)));
  };
  const auto nan = [](double x) { return std::isnan(x); };
  const auto infinite = [](double x) { return !std::isfinite(x); };
  for (int layer : {0, 3, 4, 5})
    for (std::size_t at : {std::size_t{0}, std::size_t{1477}, plane - 1})
      for (auto numbers : {&planes::all_keys, &planes::all_values}) {
        planes p = random_planes(s);
        float& spoiler = (p.*numbers)[static_cast<std::size_t>(layer) * plane + at];
        spoiler = std::numeric_limits<float>::quiet_NaN();
        check(layer_distances(host, p, metric::mean_row_norm{}), layer, nan);
        check(layer_distances(host, p, metric::flat_euclidean{}), layer, nan);
        check(layer_distances(host, p, metric::cosine{}), layer, nan);
        check(layer_distances(host, p, metric::scaled_euclidean{}), layer, nan);
        check(layer_distances(host, p, mean_absolute<fold_scope::row>{}), layer, nan);
        check(layer_distances(host, p, mean_absolute<fold_scope::plane>{}), layer, nan);
        spoiler = -std::numeric_limits<float>::infinity();
        check(layer_distances(host, p, metric::mean_row_norm{}), layer, infinite);
        check(layer_distances(host, p, metric::flat_euclidean{}), layer, infinite);
      }
}

TEST_CASE("equal layers are 0 apart, and scaling all scales the distance") {
  planes p = random_planes({3, 2, 33, 9});
  const std::size_t plane = 2 * 33 * 9;
  for (auto* numbers : {&p.all_keys, &p.all_values})
    for (std::size_t i = 0; i < plane; ++i) (*numbers)[2 * plane + i] = (*numbers)[i];
  const auto d = layer_distances(host, p, metric::mean_row_norm{});
  CHECK(d({{2}, {0}}) == 0);
  CHECK(d({{1}, {0}}) == d({{2}, {1}}));
  for (float scale : {8.0f, 0x1p40f, 0x1p-40f}) {
    planes q = p;
    for (auto* numbers : {&q.all_keys, &q.all_values})
      for (float& x : *numbers) x *= scale;
    const double scaled = layer_distances(host, q, metric::mean_row_norm{})({{1}, {0}});
    CHECK(scaled / static_cast<double>(scale) == doctest::Approx(d({{1}, {0}})).epsilon(1e-6));
  }
}

TEST_CASE("shapes without anything to compare") {
  for (int layers : {0, 1}) {
    const auto none = layer_distances(host, random_planes({layers, 2, 4, 3}), metric::mean_row_norm{});
    CHECK(none.layers() == layers);
  }
  CHECK(layer_distances(host, random_planes({1, 2, 4, 3}), mean_absolute<fold_scope::plane>{}).layers() == 1);
  for (const cache_shape s :
       {cache_shape{3, 0, 4, 3}, {3, 2, 0, 3}, {3, 2, 4, 0}, {3, 2, 4, -1}, {1, 0, 4, 3}, {-1, 2, 4, 3}})
    try {
      (void)layer_distances(host, random_planes(s), metric::mean_row_norm{});
      FAIL("nothing was refused");
    } catch (const error& e) {
      CHECK(e.code() == errc::bad_shape);
    }
}

}  // namespace
