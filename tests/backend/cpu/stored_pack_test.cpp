// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/backend/cpu/stored_pack.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

namespace {

using namespace kvsharer;
using namespace kvsharer::cpu::detail;

bool same(float a, float b) {
  return std::isnan(a) ? std::isnan(b) : std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

template <class E>
std::vector<E> all_patterns() {
  std::vector<E> all(65536 + 3);  // and an end that fills no register
  for (std::size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<std::uint16_t>(i);
  return all;
}

TEST_CASE_TEMPLATE("every 16-bit pattern decodes as its element converts", E, float16, bfloat16) {
  const std::vector<E> all = all_patterns<E>();
  std::vector<float> decoded(all.size() + 1, -5);
  decode(all.data(), static_cast<index_t>(all.size()), decoded.data());
  int different = 0;
  for (std::size_t i = 0; i < all.size(); ++i) different += !same(decoded[i], static_cast<float>(all[i]));
  CHECK(different == 0);
  CHECK(decoded.back() == -5);
}

TEST_CASE("halves decode the same without an instruction for it") {
  const std::vector<float16> all = all_patterns<float16>();
  int different = 0;
  for (std::size_t i = 0; i < 65536; i += lanes) {
    pack with, without;
    load(all.data() + i, with);
    load_in_integers(all.data() + i, without);
    for (index_t k = 0; k < lanes; ++k) different += !same(with[k], without[k]);
  }
  CHECK(different == 0);
}

TEST_CASE("a register's lanes are summed pairwise") {
  alignas(64) float x[lanes];
  for (index_t i = 0; i < lanes; ++i) x[i] = 1.0f + static_cast<float>(i * i) * 0.1f;
  float expected[lanes];
  for (index_t i = 0; i < lanes; ++i) expected[i] = x[i];
  for (index_t width = lanes / 2; width > 0; width /= 2)
    for (index_t i = 0; i < width; ++i) expected[i] += expected[i + width];
  CHECK(sum(aligned(static_cast<const float*>(x))) == expected[0]);
}

}  // namespace
