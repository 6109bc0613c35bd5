// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/adapt/local_heads.hpp"

#include "adapt/cache_checks.hpp"
#include "kvsharer/adapt/channels.hpp"
#include "kvsharer/adapt/rows.hpp"

using namespace adapt_test;

namespace {

constexpr cache_shape four_heads{.layers = 3, .kv_heads = 4, .head_dim = 32, .capacity = 11};

/// [layer][token][kv_head][channel] of all four heads.
template <class E>
std::vector<E> by_token(part which) {
  std::vector<E> memory;
  for (index_t l = 0; l < four_heads.layers; ++l)
    for (index_t t = 0; t < four_heads.capacity; ++t)
      for (index_t h = 0; h < four_heads.kv_heads; ++h)
        for (index_t d = 0; d < four_heads.head_dim; ++d) memory.push_back(stored<E>(which, l, h, t, d));
  return memory;
}

}  // namespace

TEST_CASE("a device's heads are those of the whole cache, from its first on") {
  const auto k = by_token<bfloat16>(part::keys), v = by_token<bfloat16>(part::values);
  const auto all =
      adapt::cache(four_heads, length, adapt::flat(k.data(), four_heads), adapt::flat(v.data(), four_heads));
  const index_t device = 1, devices = 2;
  // [local]
  const index_t heads = all.shape().kv_heads / devices;
  const auto local = adapt::local_heads(all, device * heads, heads);
  // [/local]
  CHECK(local.shape() == shape);
  static_assert(TokenRunView<decltype(local.keys(layer_id{}))>);
  check_cache(local,
              [](part which, index_t l, index_t h, index_t t, index_t d) { return number(which, l, 2 + h, t, d); });
}

TEST_CASE("heads of a cache whose rows are in pieces") {
  const auto k = by_token<float>(part::keys);
  std::vector<float> v;
  for (index_t l = 0; l < four_heads.layers; ++l)
    for (index_t h = 0; h < four_heads.kv_heads; ++h)
      for (index_t d = 0; d < four_heads.head_dim; ++d)
        for (index_t t = 0; t < four_heads.capacity; ++t) v.push_back(stored<float>(part::values, l, h, t, d));
  const index_t layer = four_heads.kv_heads * four_heads.head_dim * four_heads.capacity;
  const auto all = adapt::cache(four_heads, length, adapt::flat(k.data(), four_heads),
                                adapt::transposed(adapt::stacked{v.data(), layer}, four_heads));
  const auto local = adapt::local_heads(all, 1, 2);
  static_assert(!RowContiguousView<decltype(local.values(layer_id{}))>);
  check_cache(local,
              [](part which, index_t l, index_t h, index_t t, index_t d) { return number(which, l, 1 + h, t, d); });
}

TEST_CASE("distances of equal parts of the heads have the distance of all as their mean") {
  const auto k = by_token<float>(part::keys), v = by_token<float>(part::values);
  const auto all =
      adapt::cache(four_heads, length, adapt::flat(k.data(), four_heads), adapt::flat(v.data(), four_heads));
  const auto measured = [](const auto& cache) {
    return cpu::layer_distances(cpu::backend{}, cache, metric::mean_row_norm{});
  };
  const distance_matrix whole = measured(all), low = measured(adapt::local_heads(all, 0, 2)),
                        high = measured(adapt::local_heads(all, 2, 2));
  for (const layer_pair p : all_pairs(3)) {
    CHECK(whole(p) == doctest::Approx((low(p) + high(p)) / 2).epsilon(1e-6));
    CHECK(low(p) != doctest::Approx(high(p)).epsilon(1e-6));
  }
}

TEST_CASE("heads that a cache does not have are refused") {
  const float none = 0;
  const auto all = adapt::cache(shape, 0, adapt::flat(&none, shape), adapt::flat(&none, shape));
  CHECK_NOTHROW(adapt::local_heads(all, 1, 1));
  CHECK_THROWS_WITH_AS(adapt::local_heads(all, 1, 2),
                       doctest::Contains("2 KV heads does not have 2 heads from head 1 on"), error);
  CHECK_THROWS_AS(adapt::local_heads(all, -1, 1), error);
  CHECK_THROWS_AS(adapt::local_heads(all, 0, 0), error);
}
