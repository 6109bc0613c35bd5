// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>

#include "kvsharer/adapt/planes.hpp"
#include "kvsharer/core/types.hpp"

/// What tests of adapters write to memory.
namespace adapt_test {

using namespace kvsharer;
using adapt::part;

/// A scattered number in [-4, 4] that every stored type has. Two places agree once in a hundred.
inline float number(part which, index_t l, index_t h, index_t t, index_t d) {
  std::uint32_t x = static_cast<std::uint32_t>((((static_cast<index_t>(which) * 7 + l) * 5 + h) * 131 + t) * 67 + d);
  x = (x ^ (x >> 15)) * 0x2c1b3c6du;
  x = (x ^ (x >> 12)) * 0x297a2d39u;
  return static_cast<float>(static_cast<int>((x >> 13) % 129) - 64) / 16.0f;
}

/// What memory holds where no token lies: would be seen in any sum.
template <class E>
E nothing() {
  return E(std::numeric_limits<float>::quiet_NaN());
}
/// The stored form of token t's number, or nothing for one behind the last of `tokens`.
template <class E>
E stored(part which, index_t l, index_t h, index_t t, index_t d, index_t tokens) {
  return t < tokens ? E(number(which, l, h, t, d)) : nothing<E>();
}

}  // namespace adapt_test
