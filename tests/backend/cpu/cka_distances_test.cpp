// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/backend/cpu/cka_distances.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <vector>

#include "kvsharer/backend/cpu/distances.hpp"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/strided_index.hpp"

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
  index_t layer_size() const { return sizes.kv_heads * sizes.capacity * sizes.head_dim; }
  layer_view<float, layout::strided_index> of(const std::vector<float>& plane, layer_id l) const {
    return {plane.data() + l.value * layer_size(), {.head = sizes.capacity * sizes.head_dim, .token = sizes.head_dim}};
  }
  auto keys(layer_id l) const { return of(all_keys, l); }
  auto values(layer_id l) const { return of(all_values, l); }
};

planes random_planes(cache_shape s, unsigned seed = 1) {
  std::mt19937 bits(seed);
  planes p{s, {}, {}};
  for (auto* plane : {&p.all_keys, &p.all_values})
    for (index_t i = 0; i < s.layers * p.layer_size(); ++i)
      plane->push_back(static_cast<float>(static_cast<int>(bits() % 8001) - 4000) / 1000.0f);
  return p;
}

/// The definition by kernels: products of tokens' features, centred on both sides, number by number.
template <class View>
std::vector<double> centred_kernel(const View& v, cache_shape s) {
  const auto n = static_cast<std::size_t>(s.capacity);
  std::vector<double> k(n * n, 0.0), row(n, 0.0);
  double all = 0;
  for (std::size_t t = 0; t < n; ++t)
    for (std::size_t u = 0; u < n; ++u) {
      for (index_t h = 0; h < s.kv_heads; ++h)
        for (index_t d = 0; d < s.head_dim; ++d)
          k[t * n + u] += static_cast<double>(v.at(h, static_cast<index_t>(t), d)) *
                          static_cast<double>(v.at(h, static_cast<index_t>(u), d));
      row[t] += k[t * n + u] / static_cast<double>(n);
      all += k[t * n + u] / static_cast<double>(n * n);
    }
  for (std::size_t t = 0; t < n; ++t)
    for (std::size_t u = 0; u < n; ++u) k[t * n + u] += all - row[t] - row[u];
  return k;
}

template <class View>
double by_kernels(const View& a, const View& b, cache_shape s) {
  const auto k = centred_kernel(a, s), l = centred_kernel(b, s);
  double kl = 0, kk = 0, ll = 0;
  for (std::size_t i = 0; i < k.size(); ++i) {
    kl += k[i] * l[i];
    kk += k[i] * k[i];
    ll += l[i] * l[i];
  }
  return 1 - kl / std::sqrt(kk * ll);
}

TEST_CASE("one channel: one minus the squared correlation, by hand") {
  // Keys (1,2,3) and (1,2,4): correlation 3/sqrt(2 * 14/3), squared 27/28. Values (1,2,3) and (5,3,1): -1, squared 1.
  const planes p{{2, 1, 1, 3}, {1, 2, 3, 1, 2, 4}, {1, 2, 3, 5, 3, 1}};
  CHECK(layer_distances(host, p, cpu::linear_cka{})({{1}, {0}}) == doctest::Approx(1.0 / 56).epsilon(1e-12));
}

TEST_CASE("two channels, by hand") {
  // X'X = diag(2,2), Y'Y = diag(4,0), X'Y = [[2,0],[2,0]]: 8 / (sqrt 8 * 4) = 1/sqrt 2. The values are those of one
  // layer twice, the second time with the channels exchanged, tripled and moved.
  const planes p{{2, 1, 2, 4},
                 {1, 0, -1, 0, 0, 1, 0, -1, 1, 7, -1, 7, 1, 7, -1, 7},
                 {1, 2, 0, 5, 3, 3, 4, 1, 7, 2, 16, -1, 10, 8, 4, 11}};
  CHECK(layer_distances(host, p, cpu::linear_cka{})({{1}, {0}}) ==
        doctest::Approx((1 - std::sqrt(0.5)) / 2).epsilon(1e-12));
}

TEST_CASE("the kernels' definition, with fewer tokens than channels and with more") {
  for (const cache_shape s :
       {cache_shape{4, 2, 8, 5}, {3, 1, 3, 2}, {5, 3, 4, 12}, {3, 2, 3, 40}, {4, 1, 1, 9}, {2, 4, 16, 63}}) {
    const planes p = random_planes(s);
    const distance_matrix d = layer_distances(host, p, cpu::linear_cka{});
    REQUIRE(d.layers() == s.layers);
    for (const layer_pair pair : all_pairs(d.layers())) {
      const double expected = (by_kernels(p.keys(pair.reader), p.keys(pair.owner), s) +
                               by_kernels(p.values(pair.reader), p.values(pair.owner), s)) /
                              2;
      CHECK(d(pair) == doctest::Approx(expected).epsilon(1e-9));
      CHECK(d(pair) >= -1e-12);
      CHECK(d(pair) <= 1 + 1e-12);
    }
  }
}

TEST_CASE("a layer that tells no token from another is 0 from its like and 1 from all others") {
  planes p = random_planes({3, 1, 4, 6});
  for (auto* plane : {&p.all_keys, &p.all_values})
    for (std::size_t i = 0; i < 48; ++i) (*plane)[i] = 0.1f * static_cast<float>(i % 4 + (i >= 24 ? 9 : 0));
  const distance_matrix d = layer_distances(host, p, cpu::linear_cka{});
  CHECK(d({{1}, {0}}) == 0);
  CHECK(d({{2}, {0}}) == 1);
  CHECK(d({{2}, {1}}) == 1);
}

TEST_CASE("a number that is not finite spoils its layer's distances, and no other") {
  for (float spoiler : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (const cache_shape s : {cache_shape{4, 2, 5, 3}, {4, 2, 1, 9}}) {
      planes p = random_planes(s);
      for (int i = 0; i < s.capacity * s.head_dim * s.kv_heads; ++i) p.all_keys[static_cast<std::size_t>(i)] = 0;
      p.all_keys[static_cast<std::size_t>(2 * p.layer_size() + 3)] = spoiler;
      const distance_matrix d = layer_distances(host, p, cpu::linear_cka{});
      for (const layer_pair pair : all_pairs(4))
        CHECK(std::isnan(d(pair)) == (pair.reader.value == 2 || pair.owner.value == 2));
    }
}

TEST_CASE("shapes without anything to compare") {
  for (int layers : {0, 1})
    CHECK(layer_distances(host, random_planes({layers, 2, 4, 3}), cpu::linear_cka{}).layers() == layers);
  for (const cache_shape s : {cache_shape{3, 0, 4, 3}, {3, 2, 0, 3}, {3, 2, 4, 0}, {3, 2, 4, 1}, {-1, 2, 4, 3}})
    CHECK_THROWS_WITH_AS((void)layer_distances(host, random_planes(s), cpu::linear_cka{}), doctest::Contains("E302"),
                         error);
}

}  // namespace
