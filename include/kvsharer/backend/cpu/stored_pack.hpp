// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "kvsharer/backend/cpu/simd.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

/// Decodes stored numbers into registers. The results equal those of the elements' own conversions, except for the
/// payload of NaNs.
namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES {

typedef std::uint32_t bit_pack __attribute__((vector_size(lanes * sizeof(std::uint32_t)), may_alias));

/// The 16-bit patterns of `lanes` elements, zero-extended.
inline void load_bits(const void* p, bit_pack& out) noexcept {
  typedef std::uint16_t half_bits __attribute__((vector_size(lanes * sizeof(std::uint16_t))));
  half_bits h;
  std::memcpy(&h, p, sizeof h);
  out = __builtin_convertvector(h, bit_pack);
}

/// The `lanes` numbers from p on, at any alignment.
inline void load(const float* p, pack& out) noexcept { out = unaligned(p).value; }

inline void load(const bfloat16* p, pack& out) noexcept {
  bit_pack bits;
  load_bits(p, bits);
  out = reinterpret_cast<pack>(bits << 16);
}

/// For targets without an instruction for it.
inline void load_in_integers(const float16* p, pack& out) noexcept {
  bit_pack h;
  load_bits(p, h);
  const bit_pack magnitude = (h & 0x7fffu) << 13;
  const auto huge = reinterpret_cast<bit_pack>(magnitude >= 0x0f800000u);  // infinities and NaN: exponent 31
  const auto tiny = reinterpret_cast<bit_pack>(magnitude < 0x00800000u);   // zeros and subnormals: exponent 0
  const bit_pack normal = magnitude + 0x38000000u + (huge & 0x38000000u);
  // 2^-14 plus the mantissa, less 2^-14: the float unit normalises.
  const pack subnormal = reinterpret_cast<pack>(magnitude + 0x38800000u) - 0x1p-14f;
  const bit_pack bits = (normal & ~tiny) | (reinterpret_cast<bit_pack>(subnormal) & tiny);
  out = reinterpret_cast<pack>(bits | ((h & 0x8000u) << 16));
}

inline void load(const float16* p, pack& out) noexcept {
  if constexpr (converts_halves)
    convert_halves(p, out);
  else
    load_in_integers(p, out);
}

/// n stored numbers as floats.
template <CacheElement E>
void decode(const E* from, index_t n, float* to) noexcept {
  index_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    pack x;
    load(from + i, x);
    unaligned(to + i).value = x;
  }
  for (; i < n; ++i) to[i] = static_cast<float>(from[i]);
}

/// The sum of all lanes, pairwise.
template <index_t Width = lanes / 2>
float sum(const pack& x) noexcept {
  if constexpr (Width == 0) {
    return x[0];
  } else {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      const pack folded = x + __builtin_shufflevector(x, x, static_cast<int>(I ^ static_cast<std::size_t>(Width))...);
      return sum<Width / 2>(folded);
    }
    (std::make_index_sequence<static_cast<std::size_t>(lanes)>());
  }
}

}  // namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES
