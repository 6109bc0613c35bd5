// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/float8.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>

using namespace kvsharer;

namespace {

/// What a binary format with so many fraction bits makes of a code that stands for a finite number.
double finite(unsigned code, int fraction_bits, int bias) {
  const unsigned fraction = code & ((1u << fraction_bits) - 1), exponent = (code & 0x7fu) >> fraction_bits;
  const double ulps = exponent == 0 ? fraction : fraction + (1u << fraction_bits);
  const double magnitude = std::ldexp(ulps, (exponent == 0 ? 1 : static_cast<int>(exponent)) - bias - fraction_bits);
  return code >= 0x80u ? -magnitude : magnitude;
}

template <class E>
float read(unsigned code) {
  E x;
  x.bits = static_cast<std::uint8_t>(code);
  return x;
}

}  // namespace

TEST_CASE("every code of e4m3") {
  for (unsigned code = 0; code < 256; ++code) {
    const float x = read<float8_e4m3>(code);
    CAPTURE(code);
    CHECK(std::signbit(x) == (code >= 0x80u));
    if ((code & 0x7fu) == 0x7fu)
      CHECK(std::isnan(x));
    else
      CHECK(static_cast<double>(x) == finite(code, 3, 7));
  }
  CHECK(read<float8_e4m3>(0x7e) == 448.0f);
  CHECK(read<float8_e4m3>(0x38) == 1.0f);
  CHECK(read<float8_e4m3>(0x81) == -0x1p-9f);
}

TEST_CASE("every code of e5m2") {
  for (unsigned code = 0; code < 256; ++code) {
    const float x = read<float8_e5m2>(code);
    const unsigned magnitude = code & 0x7fu;
    CAPTURE(code);
    CHECK(std::signbit(x) == (code >= 0x80u));
    if (magnitude > 0x7cu)
      CHECK(std::isnan(x));
    else if (magnitude == 0x7cu)
      CHECK(std::isinf(x));
    else
      CHECK(static_cast<double>(x) == finite(code, 2, 15));
  }
  CHECK(read<float8_e5m2>(0x7b) == 57344.0f);
  CHECK(read<float8_e5m2>(0x3c) == 1.0f);
  CHECK(read<float8_e5m2>(0x81) == -0x1p-16f);
}
