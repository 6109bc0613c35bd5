// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kvsharer/core/types.hpp"

#if defined(__AVX512F__) || defined(__F16C__)  // of which neither implies the other
#include <immintrin.h>
#endif

/// A SIMD register of floats, in the vector extension of GCC and Clang: + - * / work lane by lane, and the compiler
/// chooses the instructions. Only this header asks for the instruction set. It uses intrinsics for what the extension
/// cannot express.
///
/// KVSHARER_LANES names the inline namespace of all code that depends on the registers. So objects built with different
/// -m flags have different symbols, and a program that links them never mixes code of different widths.
#if defined(__AVX512F__)
#define KVSHARER_LANES lanes_16
#elif defined(__F16C__)
#define KVSHARER_LANES lanes_8_halves
#elif defined(__AVX__)
#define KVSHARER_LANES lanes_8
#else
#define KVSHARER_LANES lanes_4
#endif

namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES {

#if defined(__AVX512F__)
inline constexpr index_t lanes = 16;  // and 32 registers
#elif defined(__AVX__)
inline constexpr index_t lanes = 8;
#else
inline constexpr index_t lanes = 4;
#endif

// Packs go through functions by reference only: by value their calling convention would depend on compiler flags.
typedef float pack __attribute__((vector_size(lanes * sizeof(float)), may_alias));
typedef pack unaligned_lanes __attribute__((aligned(alignof(float))));
/// A struct, because Clang forgets the alignment of a typedef that a function returns by reference.
struct __attribute__((may_alias)) unaligned_pack {
  unaligned_lanes value;
};
static_assert(alignof(unaligned_pack) == alignof(float));

/// `p` is aligned to a whole pack.
inline pack& aligned(float* p) noexcept { return *reinterpret_cast<pack*>(p); }
inline const pack& aligned(const float* p) noexcept { return *reinterpret_cast<const pack*>(p); }
/// `p` is aligned as any float.
inline unaligned_pack& unaligned(float* p) noexcept { return *reinterpret_cast<unaligned_pack*>(p); }
inline const unaligned_pack& unaligned(const float* p) noexcept { return *reinterpret_cast<const unaligned_pack*>(p); }

/// Is there an instruction that converts IEEE halves? `convert_halves` uses it for `lanes` of them from p on.
#if defined(__AVX512F__)
inline constexpr bool converts_halves = true;
inline void convert_halves(const void* p, pack& out) noexcept {
  // The masked form, since GCC 12 warns about an undefined source in the other one.
  out = _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
#elif defined(__F16C__)
inline constexpr bool converts_halves = true;
inline void convert_halves(const void* p, pack& out) noexcept {
  out = _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
#else
inline constexpr bool converts_halves = false;
void convert_halves(const void* p, pack& out) noexcept;
#endif

/// f(0), ..., f(N - 1) with constants, so that arrays of packs indexed by them live in registers at any optimisation.
template <index_t N, class F>
[[gnu::always_inline]] inline void unrolled(F&& f) {
  [&]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
    (f(std::integral_constant<index_t, static_cast<index_t>(I)>()), ...);
  }
  (std::make_index_sequence<static_cast<std::size_t>(N)>());
}

/// Swaps the off-diagonal Step x Step blocks of every 2 Step x 2 Step block of rows and lanes.
template <index_t Step, std::size_t... L>
[[gnu::always_inline]] inline void swap_blocks(pack& a, pack& b, std::index_sequence<L...>) noexcept {
  constexpr auto even = [](std::size_t lane) { return (lane & static_cast<std::size_t>(Step)) == 0; };
  constexpr int step = static_cast<int>(Step), width = static_cast<int>(lanes);
  const pack low =
      __builtin_shufflevector(a, b, (even(L) ? static_cast<int>(L) : static_cast<int>(L) - step + width)...);
  b = __builtin_shufflevector(a, b, (even(L) ? static_cast<int>(L) + step : static_cast<int>(L) + width)...);
  a = low;
}

/// Transposes a square of lanes x lanes floats held in registers.
template <index_t Step = 1>
[[gnu::always_inline]] inline void transpose(pack (&rows)[lanes]) noexcept {
  if constexpr (Step < lanes) {
    unrolled<lanes>([&](auto i) __attribute__((always_inline)) {
      if constexpr ((i & Step) == 0)
        swap_blocks<Step>(rows[i], rows[i + Step], std::make_index_sequence<static_cast<std::size_t>(lanes)>());
    });
    transpose<Step * 2>(rows);
  }
}

/// Replaces each x >= 0 by its square root, to a rounding or two: Newton's iteration for 1/sqrt(x) from the well-known
/// guess on the bits, then one step of Heron's. std::sqrt may set errno and so is not vectorised. Infinity becomes NaN.
inline void square_root(pack& x) noexcept {
  typedef std::int32_t bits __attribute__((vector_size(lanes * sizeof(float)), may_alias));
  const bits guess = 0x5f3759df - (reinterpret_cast<const bits&>(x) >> 1);
  pack inverse = reinterpret_cast<const pack&>(guess);
  for (int i = 0; i < 2; ++i) inverse = inverse * (1.5f - 0.5f * x * inverse * inverse);
  const pack root = x * inverse;
  x = root + 0.5f * inverse * (x - root * root);
}

}  // namespace kvsharer::inline v0::cpu::detail::inline KVSHARER_LANES
