// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <random>
#include <string>
#include <vector>

#include "kvsharer/core/element.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

/// What the driver's device tests share beyond device.hpp.
namespace device_test {

/// Of tests whose kernels read products that cuBLASLt has made in 16 bits. On sm_90 it stores them in a way that
/// initcheck does not see, so these are left out there (bench/gpu/run); the host's stand-in runs them on memory full of
/// NaN.
inline const doctest::test_suite in_16_bits("16-bit products"), long_in_16_bits("long 16-bit products");

/// In [-1, 1], the same on every run.
template <class E>
std::vector<E> random_numbers(kvsharer::index_t n, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<E> x(static_cast<std::size_t>(n));
  for (E& v : x) v = E(static_cast<float>(static_cast<int>(bits() % 2001) - 1000) / 1000.0f);
  return x;
}

template <class E>
double number(E x) {
  return static_cast<double>(static_cast<float>(x));
}

/// Of one rounding to E, relative.
template <class E>
constexpr double rounding = std::same_as<E, float>               ? 0x1p-24
                            : std::same_as<E, kvsharer::float16> ? 0x1p-11
                                                                 : 0x1p-8;

/// How far `got` is from `expected`, in units of what one rounding to E and an error of `sums` in float arithmetic
/// before it may cost: not above 1 when all is well. The smallest halves are rounded to multiples of 2^-24.
template <class E>
double misfit(E got, double expected, double sums) {
  const double allowed = rounding<E> * std::abs(expected) * 1.01 + sums + 0x1p-25;
  const double error = std::abs(number(got) - expected) / allowed;
  return std::isnan(error) ? 1e300 : error;
}

/// The text of the error that `action` throws.
template <class Action>
std::string refusal(Action&& action) {
  try {
    action();
  } catch (const kvsharer::error& e) {
    return e.what();
  }
  return "(nothing was refused)";
}

}  // namespace device_test
