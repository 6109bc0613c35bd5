// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/backend/cpu/stored_pack.hpp"

/// As many floats as one register of the target holds, and stored weights decoded into them: the library's own, so that
/// one place asks which instruction set there is.
namespace mini_llama {

inline constexpr int lanes = kvsharer::cpu::detail::lanes;
using float_lanes = kvsharer::cpu::detail::pack;

template <class E>
[[gnu::always_inline]] inline float_lanes load_lanes(const E* p) {
  float_lanes x;
  kvsharer::cpu::detail::load(p, x);
  return x;
}

/// The sum of all lanes, pairwise.
[[gnu::always_inline]] inline float sum_lanes(const float_lanes& x) { return kvsharer::cpu::detail::sum(x); }

}  // namespace mini_llama
