// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/divisor.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <random>

using namespace kvsharer;

namespace {

constexpr index_t most = std::numeric_limits<std::int32_t>::max();

/// The quotients of numbers around multiples of d, and of the ends of the range.
std::size_t wrong_quotients(index_t d, std::mt19937& bits) {
  const divisor by(d);
  std::size_t wrong = by.value() != d;
  for (int i = 0; i < 200; ++i) {
    const index_t multiple = static_cast<index_t>(bits() % static_cast<std::uint32_t>(most / d + 1)) * d;
    for (const index_t n : {multiple - 1, multiple, multiple + 1, index_t{i}, most - i})
      if (n >= 0 && n <= most) wrong += by.quotient(n) != n / d;
  }
  return wrong;
}

}  // namespace

TEST_CASE("a quotient by multiplication is the quotient") {
  static_assert(divisor(16).quotient(most) == most / 16 && divisor().quotient(most) == most);
  std::mt19937 bits(1);
  std::size_t wrong = 0;
  for (index_t d = 1; d <= 5000; ++d) wrong += wrong_quotients(d, bits);
  for (int power = 12; power < 31; ++power)
    for (const index_t d : {(index_t{1} << power) - 1, index_t{1} << power, (index_t{1} << power) + 1})
      wrong += wrong_quotients(d, bits);
  for (int i = 0; i < 5000; ++i) wrong += wrong_quotients(1 + static_cast<index_t>(bits() >> 1) % most, bits);
  wrong += wrong_quotients(most, bits) + wrong_quotients(most - 1, bits);
  CHECK(wrong == 0);
}
