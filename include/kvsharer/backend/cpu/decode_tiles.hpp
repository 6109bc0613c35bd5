// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "kvsharer/backend/cpu/cache_rows.hpp"
#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/backend/cpu/stored_pack.hpp"
#include "kvsharer/core/types.hpp"

/// The two products of decode attention, in registers. The arithmetic of a number does not depend on the tile it is in.
namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES {

/// Sums each pack's lanes pairwise, as `sum` does: lane i of sums[0] becomes the sum of sums[i].
template <index_t Width = lanes / 2>
[[gnu::always_inline]] inline void sum_each(pack (&sums)[lanes]) noexcept {
  if constexpr (Width > 0) {
    unrolled<Width>([&](auto i) __attribute__((always_inline)) {
      swap_blocks<Width>(sums[i], sums[i + Width], std::make_index_sequence<static_cast<std::size_t>(lanes)>());
      sums[i] += sums[i + Width];
    });
    sum_each<Width / 2>(sums);
  }
}

/// Products of `Group` queries [Group][n] with a block of rows: scores [Group][stride] of block_rows each.
template <index_t Group, class E>
void score_block(const float* queries, const token_rows<E>& block, index_t n, float* scores, index_t stride) noexcept {
  constexpr index_t rows = lanes / Group;
  for (index_t first = 0; first < block_rows; first += rows) {
    const E* const* row = block.rows + first;
    pack sums[lanes] = {};
    index_t d = 0;
    for (; d + lanes <= n; d += lanes) {
      pack query[static_cast<std::size_t>(Group)];
      unrolled<Group>([&](auto g) __attribute__((always_inline)) { load(queries + g * n + d, query[g]); });
      unrolled<rows>([&](auto r) __attribute__((always_inline)) {
        pack key;
        load(row[r] + d, key);
        unrolled<Group>([&](auto g) __attribute__((always_inline)) { sums[g * rows + r] += query[g] * key; });
      });
    }
    sum_each(sums);
    for (index_t i = 0; i < lanes; ++i) {
      float score = sums[0][i];
      for (index_t tail = d; tail < n; ++tail)
        score += queries[i / rows * n + tail] * static_cast<float>(row[i % rows][tail]);
      scores[i / rows * stride + first + i % rows] = score;
    }
  }
}

/// out [Group][n] += weights [Group][stride] times the first `count` rows of a block, row by row in order.
template <index_t Group, class E>
void add_block(const float* weights, index_t stride, const token_rows<E>& block, index_t count, index_t n,
               float* out) noexcept {
  index_t d = 0;
  const auto columns = [&](auto packs) __attribute__((always_inline)) {
    for (; d + packs * lanes <= n; d += packs * lanes) {
      pack sums[Group * packs];
      unrolled<Group * packs>([&](auto i) __attribute__((always_inline)) {
        load(out + i / packs * n + d + i % packs * lanes, sums[i]);
      });
      for (index_t r = 0; r < count; ++r)
        unrolled<packs>([&](auto p) __attribute__((always_inline)) {
          pack value;
          load(block.rows[r] + d + p * lanes, value);
          unrolled<Group>([&](auto g) __attribute__((always_inline)) {
            sums[g * packs + p] += weights[g * stride + r] * value;
          });
        });
      unrolled<Group * packs>([&](auto i) __attribute__((always_inline)) {
        unaligned(out + i / packs * n + d + i % packs * lanes).value = sums[i];
      });
    }
  };
  columns(std::integral_constant<index_t, 4>());
  columns(std::integral_constant<index_t, 1>());
  for (; d < n; ++d)
    for (index_t g = 0; g < Group; ++g)
      for (index_t r = 0; r < count; ++r)
        out[g * n + d] += weights[g * stride + r] * static_cast<float>(block.rows[r][d]);
}

/// Calls f(first, size) with constant sizes that add up to `group`: the queries that share the rows in registers.
template <class F>
void for_each_subgroup(index_t group, F&& f) {
  index_t first = 0;
  for (; first + 4 <= group; first += 4) f(first, std::integral_constant<index_t, 4>());
  if (first + 2 <= group) {
    f(first, std::integral_constant<index_t, 2>());
    first += 2;
  }
  if (first < group) f(first, std::integral_constant<index_t, 1>());
}

}  // namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES
