// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/element.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

using namespace kvsharer;

namespace {

/// What a binary format with `mantissa` fraction bits and exponents from `lowest` (of its smallest normal number) on
/// makes of x: scaled to an integer, rounded by the standard library to nearest-even, and scaled back.
double rounded(double x, int mantissa, int lowest) {
  if (x == 0) return x;
  int exponent;
  std::frexp(x, &exponent);
  const int ulp = std::max(exponent - 1, lowest) - mantissa;
  return std::ldexp(std::nearbyint(std::ldexp(x, -ulp)), ulp);
}

}  // namespace

TEST_CASE("float16 and bfloat16 round to nearest even like their definitions") {
  std::mt19937 random(3);
  int finite = 0;
  for (int i = 0; i < 300'000; ++i) {
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (!std::isfinite(x)) continue;
    ++finite;
    const double half = rounded(x, 10, -14);
    CHECK_EQ(static_cast<float>(float16(x)), std::abs(half) > 65504
                                                 ? std::copysign(std::numeric_limits<float>::infinity(), x)
                                                 : static_cast<float>(half));
    if (std::abs(x) > 0x1p-126f) CHECK_EQ(static_cast<float>(bfloat16(x)), static_cast<float>(rounded(x, 7, -126)));
  }
  CHECK(finite > 290'000);
}

TEST_CASE("every 16-bit number comes back from float unchanged") {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    float16 h;
    h.bits = static_cast<std::uint16_t>(bits);
    bfloat16 b;
    b.bits = static_cast<std::uint16_t>(bits);
    if (!std::isnan(static_cast<float>(h))) CHECK(float16(static_cast<float>(h)).bits == bits);
    if (!std::isnan(static_cast<float>(b))) CHECK(bfloat16(static_cast<float>(b)).bits == bits);
  }
}

TEST_CASE("special values") {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(static_cast<float>(float16(infinity)) == infinity);
  CHECK(static_cast<float>(float16(65520.0f)) == infinity);
  CHECK(static_cast<float>(float16(65519.0f)) == 65504.0f);
  CHECK(std::isnan(static_cast<float>(float16(nan))));
  CHECK(std::isnan(static_cast<float>(bfloat16(nan))));
  CHECK(std::isnan(static_cast<float>(bfloat16(std::bit_cast<float>(0x7f800001u)))));
  CHECK(static_cast<float>(bfloat16(-infinity)) == -infinity);
  CHECK(std::signbit(static_cast<float>(float16(-0.0f))));
}
