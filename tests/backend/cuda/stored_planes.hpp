// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "backend/cuda/device.hpp"
#include "kvsharer/layout/layer_view.hpp"
#include "kvsharer/layout/paged_index.hpp"
#include "kvsharer/layout/strided_index.hpp"

/// Keys and values of all layers on the host, and the same in device memory behind views of several kinds.
namespace device_test {

/// Keys and values [layer][kv_head][token][channel], on the host.
struct planes {
  cache_shape s;
  std::vector<float> keys, values;

  index_t layer_size() const { return s.kv_heads * s.capacity * s.head_dim; }
  float at(const std::vector<float>& plane, index_t l, index_t h, index_t t, index_t c) const {
    return plane[static_cast<std::size_t>(((l * s.kv_heads + h) * s.capacity + t) * s.head_dim + c)];
  }
};

planes random_planes(cache_shape s, unsigned seed) {
  std::mt19937 bits(seed);
  planes p{s, {}, {}};
  for (auto* plane : {&p.keys, &p.values})
    for (index_t i = 0; i < s.layers * p.layer_size(); ++i)
      plane->push_back(static_cast<float>(static_cast<int>(bits() % 2001) - 1000) / 256.0f);
  return p;
}

/// A cache of device views: `view(plane, layer)` makes them, plane 0 being the keys.
template <class F>
struct device_cache {
  static constexpr memory_space space = memory_space::device;
  cache_shape s;
  F view;

  cache_shape shape() const { return s; }
  index_t length() const { return s.capacity; }
  auto keys(layer_id l) const { return view(0, l.value); }
  auto values(layer_id l) const { return view(1, l.value); }
};
template <class F>
device_cache(cache_shape, F) -> device_cache<F>;

/// What is left of the numbers when they are stored as E.
template <class E>
planes rounded(planes p) {
  for (auto* plane : {&p.keys, &p.values})
    for (float& x : *plane) x = static_cast<float>(E(x));
  return p;
}

/// Rows of E in device memory, `gap` unused numbers behind each and `before` in front of the first.
template <class E>
struct strided_memory {
  planes host;
  index_t gap, before;
  index_t row = host.s.head_dim + gap, layer = host.s.kv_heads * host.s.capacity * row;
  device on{};
  cuda::device_buffer<E> numbers = on_device(on.stream, spread());

  std::vector<E> spread() const {
    std::vector<E> x(static_cast<std::size_t>(before + 2 * host.s.layers * layer),
                     E(std::numeric_limits<float>::quiet_NaN()));
    auto at = static_cast<std::size_t>(before);
    for (const auto* plane : {&host.keys, &host.values})
      for (std::size_t i = 0; i < plane->size(); at += static_cast<std::size_t>(gap))
        for (index_t c = 0; c < host.s.head_dim; ++c) x[at++] = E((*plane)[i++]);
    return x;
  }
  auto cache() const {
    return device_cache{host.s, [this](int plane, int l) {
                          return layer_view{numbers.data() + before + (plane * host.s.layers + l) * layer,
                                            layout::strided_index{.head = host.s.capacity * row, .token = row}};
                        }};
  }
};

/// The same numbers in pages of 5 tokens, in random order: one pool for each plane of each layer, one block table.
struct paged_memory {
  planes host;
  index_t page_tokens = 5, blocks = (host.s.capacity + page_tokens - 1) / page_tokens, pages = blocks + 2;
  index_t page = page_tokens * host.s.kv_heads * host.s.head_dim, pool = pages * page;
  device on{};
  std::vector<std::int32_t> table = shuffled();
  cuda::device_buffer<std::int32_t> tables = on_device(on.stream, table);
  cuda::device_buffer<float> numbers = on_device(on.stream, spread());

  std::vector<std::int32_t> shuffled() const {
    std::vector<std::int32_t> order(static_cast<std::size_t>(pages));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(1));
    order.resize(static_cast<std::size_t>(blocks));
    return order;
  }
  layout::paged_index index(const std::int32_t* entries) const {
    const index_t d = host.s.head_dim;
    return {.pages = entries, .page_tokens = page_tokens, .page = page, .head = page_tokens * d, .token = d};
  }
  std::vector<float> spread() const {
    const cache_shape& s = host.s;
    std::vector<float> x(static_cast<std::size_t>(2 * s.layers * pool), std::numeric_limits<float>::quiet_NaN());
    for (index_t l = 0; l < 2 * s.layers; ++l)
      for (index_t h = 0; h < s.kv_heads; ++h)
        for (index_t t = 0; t < s.capacity; ++t)
          for (index_t c = 0; c < s.head_dim; ++c)
            x[static_cast<std::size_t>(l * pool + index(table.data()).offset(h, t, c))] =
                host.at(l < s.layers ? host.keys : host.values, l % s.layers, h, t, c);
    return x;
  }
  const float* plane(int plane, int l) const { return numbers.data() + (plane * host.s.layers + l) * pool; }
};

}  // namespace device_test
