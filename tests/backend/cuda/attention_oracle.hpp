// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "backend/cuda/device.hpp"
#include "kvsharer/backend/cuda/attention/attend.cuh"
#include "kvsharer/backend/cuda/pool_view.cuh"

/// Attention on the device against sums in double.
namespace device_test {

/// What KVSHARER_TEST_SEED says, or 0.
inline unsigned drawn_seed() {
  const char* text = std::getenv("KVSHARER_TEST_SEED");
  return text ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : 0;
}
/// Far from the seeds of all other tests and draws.
inline unsigned shifted(unsigned seed) { return seed + 1000003u * drawn_seed(); }

/// A sequence of the batch: tokens, of which the newest `rows` ask.
struct ragged {
  index_t length;
  index_t rows;
};

template <class E>
std::vector<E> random_numbers(index_t n, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<E> x(static_cast<std::size_t>(n));
  for (E& v : x) v = E(static_cast<float>(static_cast<int>(bits() % 4001) - 2000) / 1000.0f);
  return x;
}

/// A pool of pages in random order, filled with NaN where no token lies, as a cache leaves it to attention.
template <class E, CacheLayout Layout>
struct pool {
  cache_shape shape;
  Layout layout;
  std::vector<ragged> sequences;
  index_t page_tokens = layout.page_tokens(shape);
  index_t blocks = (shape.capacity + page_tokens - 1) / page_tokens;
  index_t pages = blocks * static_cast<index_t>(sequences.size()) + 3;
  index_t page_elements = shape.kv_heads * page_tokens * shape.head_dim;
  std::vector<std::int32_t> tables = std::vector<std::int32_t>(sequences.size() * static_cast<std::size_t>(blocks));
  std::vector<std::int32_t> lengths = {};
  std::vector<E> keys = nans(), values = nans();
  std::vector<std::vector<E>> key_rows = {}, value_rows = {};  // [sequence][token][kv_head][channel]

  std::vector<E> nans() const {
    return std::vector<E>(static_cast<std::size_t>(pages * page_elements), E(std::numeric_limits<float>::quiet_NaN()));
  }

  /// Tokens that no row sees, since they lie before the window of the first, stay NaN. Pages are in random order, or
  /// each behind the one before it.
  void fill(unsigned seed, index_t window = 0, bool in_order = false) {
    std::vector<std::int32_t> order(static_cast<std::size_t>(pages));
    std::iota(order.begin(), order.end(), 0);
    std::mt19937 bits(seed);
    if (!in_order) std::shuffle(order.begin(), order.end(), bits);
    std::size_t next = 0;
    for (auto& entry : tables) entry = order[next++];
    for (std::size_t b = 0; b < sequences.size(); ++b) {
      lengths.push_back(static_cast<std::int32_t>(sequences[b].length));
      const index_t row = shape.kv_heads * shape.head_dim;
      key_rows.push_back(random_numbers<E>(sequences[b].length * row, seed + 2 * static_cast<unsigned>(b) + 1));
      value_rows.push_back(random_numbers<E>(sequences[b].length * row, seed + 2 * static_cast<unsigned>(b) + 2));
      const auto index = layout.index(shape, tables.data() + b * static_cast<std::size_t>(blocks));
      const index_t unseen = window > 0 ? sequences[b].length - sequences[b].rows + 1 - window : 0;
      for (index_t t = std::max<index_t>(0, unseen); t < sequences[b].length; ++t)
        for (index_t h = 0; h < shape.kv_heads; ++h)
          for (index_t d = 0; d < shape.head_dim; ++d) {
            const auto from = static_cast<std::size_t>((t * shape.kv_heads + h) * shape.head_dim + d);
            keys[static_cast<std::size_t>(index.offset(h, t, d))] = key_rows[b][from];
            values[static_cast<std::size_t>(index.offset(h, t, d))] = value_rows[b][from];
          }
    }
  }
};

/// What one row of one query head should be.
struct expected_row {
  std::vector<double> out, mass;
  double lse = -std::numeric_limits<double>::infinity();
};

template <class E>
expected_row attend_slowly(const attention_shape& s, const std::vector<E>& keys, const std::vector<E>& values,
                           const E* query, index_t head, index_t first, index_t visible) {
  expected_row r{std::vector<double>(static_cast<std::size_t>(s.head_dim)), {}};
  const index_t kv_head = head / s.group();
  const auto row = [&](index_t t) { return static_cast<std::size_t>((t * s.kv_heads + kv_head) * s.head_dim); };
  std::vector<double> scores;
  double largest = r.lse, sum = 0;
  for (index_t t = first; t < visible; ++t) {
    double score = 0;
    for (std::size_t d = 0; d < static_cast<std::size_t>(s.head_dim); ++d)
      score += static_cast<double>(static_cast<float>(query[d])) * static_cast<float>(keys[row(t) + d]);
    scores.push_back(score / std::sqrt(static_cast<double>(s.head_dim)));
    largest = std::max(largest, scores.back());
  }
  for (const double x : scores) sum += std::exp(x - largest);
  if (visible > 0) r.lse = largest + std::log(sum);
  r.mass.resize(static_cast<std::size_t>(first), 0.0);
  for (index_t t = first; t < visible; ++t) {
    r.mass.push_back(std::exp(scores[static_cast<std::size_t>(t - first)] - r.lse));
    for (std::size_t d = 0; d < static_cast<std::size_t>(s.head_dim); ++d)
      r.out[d] += r.mass.back() * static_cast<double>(static_cast<float>(values[row(t) + d]));
  }
  return r;
}

/// Rounding of weights and results to E: 2^-8 for bfloat16, 2^-11 for float16, of numbers of about 1.
template <class E>
constexpr double tolerance = std::same_as<E, float>     ? 2e-5
                             : std::same_as<E, float16> ? 1.5e-3
                                                        : 1e-2;

/// Which device to stand for, and how pages lie.
struct circumstances {
  int multiprocessors = 0;  ///< 0: the device's; fewer have longer lines of work
  int capability = 0;       ///< 0: the device's; below 90 there are no bulk copies
  bool in_order = false;    ///< pages lie one behind the other
};

template <class E, int HeadDim, class Layout>
void compare(Layout layout, const attention_shape& heads, const std::vector<ragged>& sequences, index_t capacity,
             unsigned seed, circumstances when = {}) {
  INFO(layout.name(), " ", heads.heads, " heads, ", heads.kv_heads, " KV heads of ", heads.head_dim, ", window ",
       heads.window, ", KVSHARER_TEST_SEED=", drawn_seed());
  seed = shifted(seed);
  pool<E, Layout> cache{{1, heads.kv_heads, heads.head_dim, capacity}, layout, sequences};
  cache.fill(seed, heads.window, when.in_order);
  std::vector<std::int32_t> row_begin{0};
  index_t max_rows = 1;
  for (const ragged& r : sequences) {
    row_begin.push_back(row_begin.back() + static_cast<std::int32_t>(r.rows));
    max_rows = std::max(max_rows, r.rows);
  }
  const index_t rows = row_begin.back(), width = heads.heads * heads.head_dim;
  const std::vector<E> queries = random_numbers<E>(rows * width, seed + 1000);
  std::vector<std::int32_t> mass_row(static_cast<std::size_t>(rows), -1);
  index_t chosen = 0;
  for (index_t r = 0; r < rows; r += 3) mass_row[static_cast<std::size_t>(r)] = static_cast<std::int32_t>(chosen++);

  // Where products of warpgroups are possible, prefill is tested without them, too.
  const int own = when.capability > 0 ? when.capability : cuda::query_device().capability;
  const bool prefill = max_rows * heads.group() > cuda::detail::most_decode_rows;
  std::vector<int> capabilities{own};
  if (own >= 90 && prefill) capabilities.push_back(80);
  for (const int capability : capabilities) {
    INFO("as on a device of capability ", capability);
    device on;
    if (when.multiprocessors > 0) on.properties.multiprocessors = when.multiprocessors;
    on.properties.capability = capability;
    const std::size_t scratch_bytes = cuda::attention_scratch_bytes(on.properties, heads.head_dim);
    auto scratch = poisoned<std::byte>(on.stream, scratch_bytes);
    on.backend = cuda::backend(on.stream, on.properties, scratch.data(), scratch.size(), on.status.data());
    const auto keys = on_device(on.stream, cache.keys), values = on_device(on.stream, cache.values);
    const auto tables = on_device(on.stream, cache.tables), lengths = on_device(on.stream, cache.lengths);
    const auto begins = on_device(on.stream, row_begin), slots = on_device(on.stream, mass_row);
    const auto asked = on_device(on.stream, queries);
    auto mass = poisoned<float>(on.stream, static_cast<std::size_t>(chosen * heads.heads * capacity));
    const auto view = [&](const auto& plane) {
      return cuda::pool_of(plane.data(), static_cast<index_t>(plane.size()), tables.data(), cache.blocks, cache.shape,
                           layout);
    };
    const cuda::ragged_batch batch{.sequences = static_cast<index_t>(sequences.size()),
                                   .rows = rows,
                                   .max_rows = max_rows,
                                   .lengths = lengths.data(),
                                   .row_begin = begins.data()};
    struct outcome {
      std::vector<E> out;
      std::vector<float> lse;
    };
    const auto attend = [&](cuda::attention_extras extras) {
      auto out = poisoned<E>(on.stream, queries.size());
      auto lse = poisoned<float>(on.stream, static_cast<std::size_t>(rows * heads.heads));
      extras.lse = lse.data();
      cuda::attend<HeadDim>(on.backend, heads, view(keys), view(values), batch, asked.data(), out.data(), extras);
      return outcome{on_host(out), on_host(lse)};
    };
    const outcome plain = attend({}), again = attend({});
    const auto same_bits = [&](const outcome& other) {
      return std::equal(plain.out.begin(), plain.out.end(), other.out.begin(),
                        [](E a, E b) { return static_cast<float>(a) == static_cast<float>(b); });
    };
    CHECK(same_bits(again));
    const outcome with_mass = attend({nullptr, mass.data(), slots.data(), capacity});
    if (!prefill) CHECK(same_bits(with_mass));
    const std::vector<float> got_mass = on_host(mass);
    CHECK_NOTHROW(on.backend.check_status());

    double worst = 0, worst_lse = 0, worst_mass = 0;
    std::size_t not_numbers = 0;
    const auto differ = [&](double& worst_so_far, double a, double b) {
      if (std::isnan(a)) ++not_numbers;
      if (a != b) worst_so_far = std::max(worst_so_far, std::abs(a - b));
    };
    for (std::size_t b = 0; b < sequences.size(); ++b)
      for (index_t r = 0; r < sequences[b].rows; ++r)
        for (index_t h = 0; h < heads.heads; ++h) {
          const index_t row = row_begin[b] + r;
          const auto at = static_cast<std::size_t>(row * width + h * heads.head_dim);
          const index_t visible = std::max<index_t>(0, sequences[b].length - sequences[b].rows + r + 1);
          const index_t first = heads.window > 0 ? std::max<index_t>(0, visible - heads.window) : 0;
          const expected_row e =
              attend_slowly(heads, cache.key_rows[b], cache.value_rows[b], queries.data() + at, h, first, visible);
          for (const outcome* got : {&plain, &with_mass}) {
            for (std::size_t d = 0; d < e.out.size(); ++d)
              differ(worst, static_cast<float>(got->out[at + d]), e.out[d]);
            differ(worst_lse, got->lse[static_cast<std::size_t>(row * heads.heads + h)], e.lse);
          }
          if (const auto slot = mass_row[static_cast<std::size_t>(row)]; slot >= 0)
            for (index_t t = 0; t < capacity; ++t)
              differ(worst_mass, got_mass[static_cast<std::size_t>((slot * heads.heads + h) * capacity + t)],
                     t < visible ? e.mass[static_cast<std::size_t>(t)] : 0.0);
        }
    CHECK(not_numbers == 0);
    CHECK(worst < tolerance<E>);
    CHECK(worst_lse < 1e-4);
    CHECK(worst_mass < 1e-4);
  }
}

}  // namespace device_test
