// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kvsharer/core/element.hpp"

/// As many floats as one register of the target holds, and stored weights decoded into them. The vector types are gcc's
/// and clang's; their width is Eigen's, so that no other place asks which instruction set there is.
namespace mini_llama {

inline constexpr int lanes = Eigen::internal::packet_traits<float>::size;

using float_lanes [[gnu::vector_size(lanes * sizeof(float))]] = float;
using bit_lanes [[gnu::vector_size(lanes * sizeof(float))]] = std::uint32_t;
using half_bit_lanes [[gnu::vector_size(lanes * sizeof(std::uint16_t))]] = std::uint16_t;

inline float_lanes load_lanes(const float* p) {
  float_lanes x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

inline bit_lanes load_bits(const void* p) {
  half_bit_lanes h;
  std::memcpy(&h, p, sizeof h);
  return __builtin_convertvector(h, bit_lanes);
}

inline float_lanes load_lanes(const kvsharer::bfloat16* p) { return reinterpret_cast<float_lanes>(load_bits(p) << 16); }

/// Agrees with float16's conversion, but for the payload of NaNs, and has no branches.
inline float_lanes load_lanes(const kvsharer::float16* p) {
  const bit_lanes h = load_bits(p);
  const bit_lanes magnitude = (h & 0x7fffu) << 13;
  const auto huge = reinterpret_cast<bit_lanes>(magnitude >= 0x0f800000u);  // infinities and NaN: exponent 31
  const auto tiny = reinterpret_cast<bit_lanes>(magnitude < 0x00800000u);   // zeros and subnormals: exponent 0
  const bit_lanes normal = magnitude + 0x38000000u + (huge & 0x38000000u);
  // 2^-14 plus the mantissa, less 2^-14: the float unit normalises.
  const float_lanes subnormal = reinterpret_cast<float_lanes>(magnitude + 0x38800000u) - 0x1p-14f;
  const bit_lanes bits = (normal & ~tiny) | (reinterpret_cast<bit_lanes>(subnormal) & tiny);
  return reinterpret_cast<float_lanes>(bits | ((h & 0x8000u) << 16));
}

/// The sum of all lanes, pairwise.
inline float sum_lanes(float_lanes x) {
  float s[lanes];
  std::memcpy(s, &x, sizeof s);
  for (int width = lanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) s[i] += s[i + width];
  return s[0];
}

}  // namespace mini_llama
