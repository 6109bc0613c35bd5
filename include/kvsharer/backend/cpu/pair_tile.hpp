// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/concepts/policies.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/metric/flat_euclidean.hpp"
#include "kvsharer/metric/mean_row_norm.hpp"

namespace kvsharer::inline v0::cpu {

/// Does `M::step` add the squared difference to a float? Then the fold uses explicit SIMD registers. True for the two
/// Euclidean metrics; specialise it for your own metric with the same step to get the same speed.
template <class M>
inline constexpr bool adds_squared_difference = false;
template <>
inline constexpr bool adds_squared_difference<metric::mean_row_norm> = true;
template <>
inline constexpr bool adds_squared_difference<metric::flat_euclidean> = true;

namespace detail::inline KVSHARER_LANES {

/// Layers on either side of a register tile: with 32 registers 16 sums and their operands fit, with 16 registers 9.
inline constexpr index_t tile_side = lanes == 16 ? 4 : 3;
inline constexpr index_t tile_pairs = tile_side * tile_side;

/// The operands of a register tile: tile_side layers of a panel against tile_side others.
struct tile_operands {
  const float* a;        ///< [channel][lane] of the first layer on the left
  const float* b;        ///< and on the right
  index_t layer_stride;  ///< elements from a layer to the next
  index_t channels;
};

/// The indices of pairs are constants, so that every sum is a register from the first channel to the last.
template <bool Diagonal>
void fold_squared_differences(const tile_operands& t, bool fresh, float* sums) {
  constexpr auto each = [](auto&& f) __attribute__((always_inline)) {
    unrolled<tile_pairs>([&](auto p) __attribute__((always_inline)) {
      if constexpr (!Diagonal || p / tile_side > p % tile_side) f(p);
    });
  };
  pack sum[tile_pairs] = {};
  if (!fresh) each([&](auto p) __attribute__((always_inline)) { sum[p] = aligned(sums + p * lanes); });
  for (index_t c = 0; c < t.channels; ++c) {
    const float *x = t.a + c * lanes, *y = t.b + c * lanes;
    pack right[tile_side];
    unrolled<tile_side>([&](auto j) __attribute__((always_inline)) {
      // volatile: loaded once into a register, where GCC would rather load again for every pair.
      right[j] = const_cast<const volatile pack&>(aligned(y + j * t.layer_stride));
    });
    each([&](auto p) __attribute__((always_inline)) {
      const pack difference = aligned(x + p / tile_side * t.layer_stride) - right[p % tile_side];
      sum[p] = sum[p] + difference * difference;
    });
  }
  each([&](auto p) __attribute__((always_inline)) { aligned(sums + p * lanes) = sum[p]; });
}

/// Adds `t.channels` channels to the folds of tile_side x tile_side layer pairs, or begins them when `fresh`; on the
/// diagonal those with i > j only. `sums`: [i][j][lane]. Any metric; the compiler vectorises over lanes where the fold
/// lets it.
template <bool Diagonal, DistanceMetric M>
void fold_tile(const M& metric, const tile_operands& t, bool fresh, typename M::partial* sums) {
  if constexpr (adds_squared_difference<M>) {
    fold_squared_differences<Diagonal>(t, fresh, sums);
  } else {
    for (index_t i = 0; i < tile_side; ++i)
      for (index_t j = 0; j < (Diagonal ? i : tile_side); ++j)
        for (index_t lane = 0; lane < lanes; ++lane) {
          auto& folded = sums[(i * tile_side + j) * lanes + lane];
          auto sum = fresh ? typename M::partial{} : folded;
          const float *x = t.a + i * t.layer_stride + lane, *y = t.b + j * t.layer_stride + lane;
          for (index_t c = 0; c < t.channels; ++c) sum = metric.step(sum, x[c * lanes], y[c * lanes]);
          folded = sum;
        }
  }
}

}  // namespace detail::inline KVSHARER_LANES
}  // namespace kvsharer::inline v0::cpu
