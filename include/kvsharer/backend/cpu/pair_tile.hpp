// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/metric/flat_euclidean.hpp"
#include "kvsharer/metric/mean_row_norm.hpp"

namespace kvsharer::inline v0::cpu {

/// Does `M::step` add the squared difference to a float? Then the fold runs in explicit SIMD registers. True of the
/// two Euclidean metrics; specialise it for your own metric of that step to have the same speed.
template <class M>
inline constexpr bool adds_squared_difference = false;
template <>
inline constexpr bool adds_squared_difference<metric::mean_row_norm> = true;
template <>
inline constexpr bool adds_squared_difference<metric::flat_euclidean> = true;

namespace detail {

/// Layers on either side of a register tile: with 32 registers 16 sums and their operands fit, with 16 registers 9.
inline constexpr index_t tile_side = lanes == 16 ? 4 : 3;
inline constexpr index_t tile_pairs = tile_side * tile_side;

/// Layers on the right of pair i: those with j < i on the diagonal, all elsewhere. The indices are constants, so that
/// every sum is a register from the first channel to the last.
template <bool Diagonal>
void fold_squared_differences(const float* a, const float* b, index_t layer, index_t channels, float* sums) {
  constexpr auto each = [](auto&& f) __attribute__((always_inline)) {
    unrolled<tile_pairs>([&](auto p) __attribute__((always_inline)) {
      if constexpr (!Diagonal || p / tile_side > p % tile_side) f(p);
    });
  };
  pack sum[tile_pairs];
  each([&](auto p) __attribute__((always_inline)) { sum[p] = aligned(sums + p * lanes); });
  for (index_t c = 0; c < channels; ++c) {
    const float *x = a + c * lanes, *y = b + c * lanes;
    each([&](auto p) __attribute__((always_inline)) {
      const pack difference = aligned(x + p / tile_side * layer) - aligned(y + p % tile_side * layer);
      sum[p] = sum[p] + difference * difference;
    });
  }
  each([&](auto p) __attribute__((always_inline)) { aligned(sums + p * lanes) = sum[p]; });
}

/// Adds `channels` channels to the folds of tile_side x tile_side layer pairs, those with i > j only on the diagonal.
/// `a`, `b`: the first of tile_side layers in a panel; `layer`: elements from one to the next;
/// `sums`: [i][j][lane]. Any metric; the compiler vectorises over lanes where the fold lets it.
template <bool Diagonal, DistanceMetric M>
void fold_tile(const M& metric, const float* a, const float* b, index_t layer, index_t channels,
               typename M::partial* sums) {
  if constexpr (adds_squared_difference<M>) {
    fold_squared_differences<Diagonal>(a, b, layer, channels, sums);
  } else {
    for (index_t i = 0; i < tile_side; ++i)
      for (index_t j = 0; j < (Diagonal ? i : tile_side); ++j)
        for (index_t lane = 0; lane < lanes; ++lane) {
          auto sum = sums[(i * tile_side + j) * lanes + lane];
          const float *x = a + i * layer + lane, *y = b + j * layer + lane;
          for (index_t c = 0; c < channels; ++c) sum = metric.step(sum, x[c * lanes], y[c * lanes]);
          sums[(i * tile_side + j) * lanes + lane] = sum;
        }
  }
}

}  // namespace detail
}  // namespace kvsharer::inline v0::cpu
