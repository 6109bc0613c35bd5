// SPDX-License-Identifier: Apache-2.0
// The adapters over device memory: attention where there are rows, averages and distances of all.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <type_traits>
#include <vector>

#include "adapt/written_numbers.hpp"
#include "backend/cuda/device.hpp"
#include "kvsharer/adapt/batches.hpp"
#include "kvsharer/adapt/cache.hpp"
#include "kvsharer/adapt/channels.hpp"
#include "kvsharer/adapt/local_heads.hpp"
#include "kvsharer/adapt/pages.hpp"
#include "kvsharer/adapt/ring.hpp"
#include "kvsharer/adapt/rotated.hpp"
#include "kvsharer/adapt/rows.hpp"
#include "kvsharer/adapt/scales.hpp"
#include "kvsharer/backend/cuda/calibration_average.cuh"
#include "kvsharer/backend/cuda/distances/distances.cuh"
#include "kvsharer/core/float8.hpp"
#include "kvsharer/metric/mean_row_norm.hpp"

namespace adapt_test {

/// A device's heads of sequences that lie one behind the other: what an engine writes for views of its own. Not in
/// an unnamed namespace, which kernels of it would be in, too.
template <class View>
struct slices_side_by_side {
  View first;
  index_t distance;
  KVSHARER_HD View sequence(index_t place) const {
    View view = first;
    view.view.data += place * distance;
    return view;
  }
};

}  // namespace adapt_test

namespace {

using namespace device_test;
using adapt_test::nothing;
using adapt_test::number;
using adapt_test::part;
using adapt_test::stored;
using E = bfloat16;

constexpr index_t kv_heads = 2, head_dim = 64, group = 2, capacity = 22, sequences = 3, new_rows = 2;
constexpr cache_shape shape{.layers = 1, .kv_heads = kv_heads, .head_dim = head_dim, .capacity = capacity};

/// Attention of the newest two tokens of each sequence, which `position(sequence, token)` says what was written for.
/// The views' head 0 is what was written for `first_head`.
template <class K, class V, class Position>
void check_attention(device& on, const K& keys, const V& values, const std::vector<std::int32_t>& lengths,
                     Position&& position, index_t first_head = 0) {
  const index_t heads = kv_heads * group, width = heads * head_dim, rows = sequences * new_rows;
  std::vector<E> queries;
  for (index_t i = 0; i < rows * width; ++i) queries.push_back(E(std::sin(static_cast<float>(i) * 0.37f)));
  const auto asked = on_device(on.stream, queries);
  const auto tokens = on_device(on.stream, lengths);
  const auto begins = on_device(on.stream, std::vector<std::int32_t>{0, 2, 4, 6});
  auto out = poisoned<E>(on.stream, queries.size());
  cuda::attend<head_dim>(
      on.backend, {heads, kv_heads, head_dim}, keys, values,
      {.sequences = sequences, .rows = rows, .max_rows = 2, .lengths = tokens.data(), .row_begin = begins.data()},
      asked.data(), out.data());
  const std::vector<E> got = on_host(out);
  CHECK_NOTHROW(on.backend.check_status());
  double worst = 0;
  for (index_t b = 0; b < sequences; ++b)
    for (index_t r = 0; r < new_rows; ++r)
      for (index_t q = 0; q < heads; ++q) {
        const auto at = static_cast<std::size_t>((b * new_rows + r) * width + q * head_dim);
        std::vector<double> sums(static_cast<std::size_t>(head_dim));
        double weights = 0;
        for (index_t t = 0; t <= lengths[static_cast<std::size_t>(b)] - new_rows + r; ++t) {
          double score = 0;
          for (index_t d = 0; d < head_dim; ++d)
            score += static_cast<double>(static_cast<float>(queries[at + static_cast<std::size_t>(d)])) *
                     static_cast<double>(number(part::keys, b, first_head + q / group, position(b, t), d));
          const double weight = std::exp(score / 8);
          weights += weight;
          for (index_t d = 0; d < head_dim; ++d)
            sums[static_cast<std::size_t>(d)] +=
                weight * static_cast<double>(number(part::values, b, first_head + q / group, position(b, t), d));
        }
        for (std::size_t d = 0; d < sums.size(); ++d) {
          const double off = std::abs(static_cast<double>(static_cast<float>(got[at + d])) - sums[d] / weights);
          if (!(off <= worst)) worst = off;  // NaN too
        }
      }
  CHECK(worst < 3e-2);  // weights and results are rounded to bfloat16, and values reach 4
}

/// The device's average of one sample is that sample.
template <class Cache, class Numbers>
void check_average(device& on, const Cache& cache, Numbers&& expected) {
  cuda::calibration_average<> mean(on.backend);
  mean.add(cache);
  const cache_shape s = cache.shape();
  const index_t plane = s.kv_heads * cache.length() * s.head_dim;
  for (const part which : {part::keys, part::values})
    for (layer_id l{0}; l.value < s.layers; ++l.value) {
      const auto view = which == part::keys ? mean.keys(l) : mean.values(l);
      const std::vector<float> got = on_host(on.stream, view.data, static_cast<std::size_t>(plane));
      std::size_t i = 0;
      for (index_t h = 0; h < s.kv_heads; ++h)
        for (index_t t = 0; t < cache.length(); ++t)
          for (index_t d = 0; d < s.head_dim; ++d) REQUIRE(got[i++] == expected(which, l.value, h, t, d));
    }
}

template <class Cache, class Numbers>
void check_distances(device& on, const Cache& cache, Numbers&& expected) {
  const metric::mean_row_norm metric;
  auto scratch = poisoned<std::byte>(on.stream, cuda::distances_scratch_bytes(on.properties, cache, metric));
  const cuda::backend backend(on.stream, on.properties, scratch.data(), scratch.size(), on.status.data());
  const distance_matrix got = cuda::layer_distances(backend, cache, metric);
  const cache_shape s = cache.shape();
  for (const layer_pair p : all_pairs(static_cast<int>(s.layers))) {
    double sum = 0;
    for (const part which : {part::keys, part::values})
      for (index_t h = 0; h < s.kv_heads; ++h)
        for (index_t t = 0; t < cache.length(); ++t) {
          double squares = 0;
          for (index_t d = 0; d < s.head_dim; ++d)
            squares += std::pow(static_cast<double>(expected(which, p.reader.value, h, t, d)) -
                                    static_cast<double>(expected(which, p.owner.value, h, t, d)),
                                2);
          sum += std::sqrt(squares);
        }
    CHECK(got(p) == doctest::Approx(sum / static_cast<double>(2 * s.kv_heads * cache.length())).epsilon(1e-5));
  }
}

TEST_CASE("attention over a batch of [kv_head][token][channel]") {
  const std::vector<std::int32_t> lengths{7, 22, 2};
  const auto written = [&](part which) {
    std::vector<E> memory;
    for (index_t b = 0; b < sequences; ++b)
      for (index_t h = 0; h < kv_heads; ++h)
        for (index_t t = 0; t < capacity; ++t)
          for (index_t d = 0; d < head_dim; ++d)
            memory.push_back(stored<E>(which, b, h, t, d, lengths[static_cast<std::size_t>(b)]));
    return memory;
  };
  device on;
  const auto k = on_device(on.stream, written(part::keys)), v = on_device(on.stream, written(part::values));
  const layer_id layer{0};
  // [batch]
  const index_t distance = kv_heads * capacity * head_dim;  // from a sequence of the batch to the next
  const auto batch = [&](const bfloat16* tensor) {
    return adapt::side_by_side{adapt::batched(adapt::stacked{tensor, 0}, shape, 0)(layer), distance};
  };
  const auto keys = batch(k.data()), values = batch(v.data());
  // [/batch]
  check_attention(on, keys, values, lengths, [](index_t, index_t t) { return t; });
}

TEST_CASE("distances that kernels cannot keep are refused in words") {
  const float number = 0;
  const auto batch = [&](index_t head, index_t token) {
    return adapt::side_by_side{layer_view{&number, layout::strided_index{.head = head, .token = token}}, 0};
  };
  CHECK(cuda::as_pool(batch(index_t{0xffffffff}, 64), nullptr).pages.head == 0xffffffffu);
  CHECK_THROWS_WITH_AS(cuda::as_pool(batch(index_t{1} << 32, 64), nullptr), doctest::Contains("4294967296 elements"),
                       error);
  CHECK_THROWS_WITH_AS(cuda::as_pool(batch(64, -64), nullptr), doctest::Contains("-64 elements"), error);
}

TEST_CASE("attention over pages that hold keys and values, [page][keys, values][token][kv_head][channel]") {
  const std::vector<std::int32_t> lengths{7, 22, 2}, tables{9, 1, -1, 4, 0, 8, 2, -1, -1};  // [place][3]
  const index_t page_tokens = 8, pages = 10;
  std::vector<E> memory;
  for (index_t page = 0; page < pages; ++page)
    for (const part which : {part::keys, part::values})
      for (index_t slot = 0; slot < page_tokens; ++slot)
        for (index_t h = 0; h < kv_heads; ++h)
          for (index_t d = 0; d < head_dim; ++d) {
            const auto entry = std::find(tables.begin(), tables.end(), page) - tables.begin();
            const index_t b = entry / 3, t = entry % 3 * page_tokens + slot;
            memory.push_back(b < sequences ? stored<E>(which, b, h, t, d, lengths[static_cast<std::size_t>(b)])
                                           : nothing<E>());
          }
  device on;
  const auto kv = on_device(on.stream, memory);
  const auto table = on_device(on.stream, tables);
  // [tables]
  const index_t blocks = 3;  // entries of each sequence's block table; table: [place][blocks], on the device
  const auto plane = [&](adapt::part which) {
    return adapt::table_by_table{
        adapt::joint_token_pages(adapt::stacked{kv.data(), 0}, shape, {table.data(), page_tokens}, which)({0}), blocks};
  };
  const auto keys = plane(adapt::part::keys), values = plane(adapt::part::values);
  // [/tables]
  check_attention(on, keys, values, lengths, [](index_t, index_t t) { return t; });
}

TEST_CASE("attention over rings with sinks, of which some have wrapped") {
  constexpr index_t sinks = 4;
  const std::vector<std::int32_t> seen{7, 59, 23};
  std::vector<std::int32_t> lengths;
  // Position by position, as an engine writes them.
  std::vector<std::vector<index_t>> slots, by_age;
  for (const std::int32_t n : seen) {
    std::vector<index_t> slot(static_cast<std::size_t>(capacity), -1), age;
    for (index_t p = 0; p < n; ++p)
      slot[static_cast<std::size_t>(p < capacity ? p : sinks + (p - sinks) % (capacity - sinks))] = p;
    std::copy_if(slot.begin(), slot.end(), std::back_inserter(age), [](index_t p) { return p >= 0; });
    std::sort(age.begin(), age.end());
    lengths.push_back(static_cast<std::int32_t>(age.size()));
    slots.push_back(slot);
    by_age.push_back(age);
  }
  const auto written = [&](part which) {
    std::vector<E> memory;
    for (index_t b = 0; b < sequences; ++b)
      for (const index_t p : slots[static_cast<std::size_t>(b)])
        for (index_t h = 0; h < kv_heads; ++h)
          for (index_t d = 0; d < head_dim; ++d) memory.push_back(p < 0 ? nothing<E>() : E(number(which, b, h, p, d)));
    return memory;
  };
  device on;
  const auto k = on_device(on.stream, written(part::keys)), v = on_device(on.stream, written(part::values));
  const auto counts = on_device(on.stream, seen);
  const index_t distance = capacity * kv_heads * head_dim;
  // [rings]
  const layout::sink_ring empty{.sinks = sinks, .slots = capacity};
  const auto rings = [&](const bfloat16* data) {  // counts: [place], on the device, how many tokens each has seen
    return adapt::ring_by_ring{adapt::ring_rows(adapt::stacked{data, 0}, shape, empty)({0}), distance, counts.data()};
  };
  // [/rings]
  check_attention(on, rings(k.data()), rings(v.data()), lengths, [&](index_t b, index_t t) {
    return by_age[static_cast<std::size_t>(b)][static_cast<std::size_t>(t)];
  });
}

index_t same_position(index_t, index_t t) { return t; }

TEST_CASE("attention over [layer][token][kv_head * head_dim], in one allocation or several") {
  const std::vector<std::int32_t> lengths{7, 22, 2};
  cache_shape two_layers = shape;
  two_layers.layers = 2;
  // [sequence][layer][token][kv_head][channel]; of two layers the other one holds nothing.
  const auto written = [&](part which, int layers, int layer) {
    std::vector<E> memory;
    for (index_t b = 0; b < sequences; ++b)
      for (int l = 0; l < layers; ++l)
        for (index_t t = 0; t < capacity; ++t)
          for (index_t h = 0; h < kv_heads; ++h)
            for (index_t d = 0; d < head_dim; ++d)
              memory.push_back(l == layer ? stored<E>(which, b, h, t, d, lengths[static_cast<std::size_t>(b)])
                                          : nothing<E>());
    return memory;
  };
  const index_t layer = capacity * kv_heads * head_dim;
  device on;
  {
    const auto k = on_device(on.stream, written(part::keys, 2, 1)),
               v = on_device(on.stream, written(part::values, 2, 1));
    const auto batch = [&](const E* data) {
      return adapt::side_by_side{adapt::flat(data, two_layers)({1}), 2 * layer};
    };
    check_attention(on, batch(k.data()), batch(v.data()), lengths, same_position);
  }
  {
    const auto k = on_device(on.stream, written(part::keys, 1, 0)),
               v = on_device(on.stream, written(part::values, 1, 0));
    const E* const key_layers[] = {nullptr, k.data()};
    const E* const value_layers[] = {nullptr, v.data()};
    const auto batch = [&](const E* const* of_layers) {
      return adapt::side_by_side{adapt::token_rows(adapt::separate{of_layers}, two_layers)({1}), layer};
    };
    check_attention(on, batch(key_layers), batch(value_layers), lengths, same_position);
  }
}

TEST_CASE("attention over [token][layer][keys, values][kv_head][channel]") {
  const std::vector<std::int32_t> lengths{7, 22, 2};
  cache_shape s = shape;
  s.layers = 3;
  std::vector<E> memory;
  for (index_t b = 0; b < sequences; ++b)
    for (index_t t = 0; t < capacity; ++t)
      for (index_t l = 0; l < s.layers; ++l)
        for (const part which : {part::keys, part::values})
          for (index_t h = 0; h < kv_heads; ++h)
            for (index_t d = 0; d < head_dim; ++d)
              memory.push_back(l == 1 ? stored<E>(which, b, h, t, d, lengths[static_cast<std::size_t>(b)])
                                      : nothing<E>());
  device on;
  const auto kv = on_device(on.stream, memory);
  const auto batch = [&](adapt::part which) {
    return adapt::side_by_side{adapt::interleaved(kv.data(), s, which)({1}),
                               capacity * s.layers * 2 * kv_heads * head_dim};
  };
  check_attention(on, batch(part::keys), batch(part::values), lengths, same_position);
}

/// Three sequences in pages of 8 tokens, scattered over a pool of 10.
struct scattered {
  static constexpr index_t page_tokens = 8, pages = 10, blocks = 3, plane = page_tokens * kv_heads * head_dim;
  std::vector<std::int32_t> lengths{7, 22, 2}, tables{3, -1, -1, 8, 5, 0, 9, -1, -1};  // [place][blocks]

  E at(part which, index_t page, index_t slot, index_t h, index_t d) const {
    const auto entry = std::find(tables.begin(), tables.end(), page) - tables.begin();
    const index_t b = entry / blocks, t = entry % blocks * page_tokens + slot;
    return b < sequences ? stored<E>(which, b, h, t, d, lengths[static_cast<std::size_t>(b)]) : nothing<E>();
  }
  /// [token][kv_head][channel] of a page, or [kv_head][token][channel].
  void add(std::vector<E>& memory, part which, index_t page, bool heads_first) const {
    for (index_t i = 0; i < page_tokens * kv_heads; ++i)
      for (index_t d = 0; d < head_dim; ++d)
        memory.push_back(heads_first ? at(which, page, i % page_tokens, i / page_tokens, d)
                                     : at(which, page, i / kv_heads, i % kv_heads, d));
  }
  /// A pool of one plane, `gap` numbers behind each page.
  std::vector<E> pool(part which, bool heads_first, index_t gap) const {
    std::vector<E> memory;
    for (index_t page = 0; page < pages; ++page) {
      add(memory, which, page, heads_first);
      memory.insert(memory.end(), static_cast<std::size_t>(gap), nothing<E>());
    }
    return memory;
  }
};

TEST_CASE("attention over pools of pages whose keys and values lie differently far apart") {
  const scattered memory;
  device on;
  const auto table = on_device(on.stream, memory.tables);
  for (const bool heads_first : {false, true}) {
    CAPTURE(heads_first);
    const index_t key_gap = heads_first ? 0 : 64, value_gap = heads_first ? 24 : 8;
    const auto k = on_device(on.stream, memory.pool(part::keys, heads_first, key_gap)),
               v = on_device(on.stream, memory.pool(part::values, heads_first, value_gap));
    const auto plane = [&](const E* data, index_t gap) {
      const layout::page_table of{table.data(), memory.page_tokens, gap == 0 ? 0 : memory.plane + gap};
      const adapt::stacked layers{data, 0};
      return adapt::table_by_table{
          heads_first ? adapt::head_pages(layers, shape, of)({0}) : adapt::token_pages(layers, shape, of)({0}),
          memory.blocks};
    };
    check_attention(on, plane(k.data(), key_gap), plane(v.data(), value_gap), memory.lengths, same_position);
  }
}

TEST_CASE("attention over pages that hold keys and values, [page][keys, values][kv_head][token][channel]") {
  const scattered memory;
  std::vector<E> numbers;
  for (index_t page = 0; page < memory.pages; ++page)
    for (const part which : {part::keys, part::values}) memory.add(numbers, which, page, true);
  device on;
  const auto kv = on_device(on.stream, numbers);
  const auto table = on_device(on.stream, memory.tables);
  const auto plane = [&](adapt::part which) {
    const layout::page_table pages{table.data(), memory.page_tokens};
    return adapt::table_by_table{adapt::joint_head_pages(adapt::stacked{kv.data(), 0}, shape, pages, which)({0}),
                                 memory.blocks};
  };
  check_attention(on, plane(part::keys), plane(part::values), memory.lengths, same_position);
}

TEST_CASE("attention over the heads that are one device's") {
  const std::vector<std::int32_t> lengths{7, 22, 2};
  cache_shape all_heads = shape;
  all_heads.kv_heads = 2 * kv_heads;
  const auto written = [&](part which) {
    std::vector<E> memory;
    for (index_t b = 0; b < sequences; ++b)
      for (index_t t = 0; t < capacity; ++t)
        for (index_t h = 0; h < all_heads.kv_heads; ++h)
          for (index_t d = 0; d < head_dim; ++d)
            memory.push_back(stored<E>(which, b, h, t, d, lengths[static_cast<std::size_t>(b)]));
    return memory;
  };
  device on;
  const auto k = on_device(on.stream, written(part::keys)), v = on_device(on.stream, written(part::values));
  const auto all = adapt::cache<memory_space::device>(all_heads, capacity, adapt::flat(k.data(), all_heads),
                                                      adapt::flat(v.data(), all_heads));
  for (const index_t first : {index_t{0}, index_t{1}, kv_heads}) {
    CAPTURE(first);
    const auto local = adapt::local_heads(all, first, kv_heads);
    const auto batch = [&](const auto& view) {
      return adapt_test::slices_side_by_side<std::decay_t<decltype(view)>>{view,
                                                                           capacity * all_heads.kv_heads * head_dim};
    };
    check_attention(on, batch(local.keys({0})), batch(local.values({0})), lengths, same_position, first);
  }
}

TEST_CASE("averages and distances over keys in tiles and values transposed, and over some of their heads") {
  const cache_shape s{.layers = 3, .kv_heads = 2, .head_dim = 48, .capacity = 11};
  const index_t length = 9, layer = s.kv_heads * s.head_dim * s.capacity;
  std::vector<float> keys, values;
  for (index_t l = 0; l < s.layers; ++l)
    for (index_t h = 0; h < s.kv_heads; ++h) {
      for (index_t tile = 0; tile < s.head_dim / 16; ++tile)
        for (index_t t = 0; t < s.capacity; ++t)
          for (index_t d = 0; d < 16; ++d) keys.push_back(stored<float>(part::keys, l, h, t, tile * 16 + d, length));
      for (index_t d = 0; d < s.head_dim; ++d)
        for (index_t t = 0; t < s.capacity; ++t) values.push_back(stored<float>(part::values, l, h, t, d, length));
    }
  device on;
  const auto k = on_device(on.stream, keys), v = on_device(on.stream, values);
  const auto cache = adapt::cache<memory_space::device>(s, length, adapt::tiled(adapt::stacked{k.data(), layer}, s, 16),
                                                        adapt::transposed(adapt::stacked{v.data(), layer}, s));
  check_average(on, cache, number);
  check_distances(on, cache, number);
  const auto upper = [](part which, index_t l, index_t, index_t t, index_t d) { return number(which, l, 1, t, d); };
  check_average(on, adapt::local_heads(cache, 1, 1), upper);

  // A quarter turn: of two channels the first becomes the second, negated, and the second the first.
  std::vector<float> quarter;
  for (index_t i = 0; i < length * s.head_dim; ++i) quarter.push_back(i % s.head_dim < s.head_dim / 2 ? 0.0f : 1.0f);
  const auto angles = on_device(on.stream, quarter);
  const auto turned =
      adapt::rotated(adapt::tiled(adapt::stacked{k.data(), layer}, s, 16), s, angles.data(), rope_pairing::interleaved);
  check_average(on, adapt::cache<memory_space::device>(s, length, turned, turned),
                [](part, index_t l, index_t h, index_t t, index_t d) {
                  return d % 2 == 0 ? -number(part::keys, l, h, t, d + 1) : number(part::keys, l, h, t, d - 1);
                });
}

TEST_CASE_TEMPLATE("averages and distances over eight-bit codes with a scale of each head", Code, float8_e4m3,
                   float8_e5m2) {
  const cache_shape s{.layers = 2, .kv_heads = 2, .head_dim = 32, .capacity = 5};
  const index_t layer = s.capacity * s.kv_heads * s.head_dim;
  const std::vector<float> scales{0.5f, 3.0f, 2.0f, 0.25f};
  // All codes of magnitude below 2, in turns.
  std::vector<Code> codes(static_cast<std::size_t>(s.layers * layer));
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i].bits = static_cast<std::uint8_t>((i * 37 + i / 64) & 0xbf);
  constexpr int fraction_bits = std::is_same_v<Code, float8_e4m3> ? 3 : 2, bias = fraction_bits == 3 ? 7 : 15;
  const auto expected = [&](part, index_t l, index_t h, index_t t, index_t d) {
    const std::uint8_t bits =
        codes[static_cast<std::size_t>(((l * s.capacity + t) * s.kv_heads + h) * s.head_dim + d)].bits;
    const int fraction = bits % (1 << fraction_bits), exponent = bits % 128 >> fraction_bits;
    const double magnitude = exponent == 0
                                 ? std::ldexp(fraction, 1 - bias - fraction_bits)
                                 : std::ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
    return static_cast<float>(bits >= 128 ? -magnitude : magnitude) * scales[static_cast<std::size_t>(l * 2 + h)];
  };
  device on;
  const auto stored_codes = on_device(on.stream, codes);
  const auto of_heads = on_device(on.stream, scales);
  const auto planes = adapt::scaled(adapt::flat(stored_codes.data(), s), s, {.heads = of_heads.data()});
  const auto cache = adapt::cache<memory_space::device>(s, s.capacity, planes, planes);
  check_average(on, cache, expected);
  check_distances(on, cache, expected);
}

}  // namespace
