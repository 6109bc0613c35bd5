// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/adapt/scales.hpp"

#include <concepts>

#include "adapt/cache_checks.hpp"
#include "kvsharer/adapt/channels.hpp"
#include "kvsharer/adapt/rows.hpp"
#include "kvsharer/core/float8.hpp"

using namespace adapt_test;

namespace {

/// A scattered code of magnitude below 2.
std::uint8_t code(part which, index_t l, index_t h, index_t t, index_t d) {
  const int scattered = static_cast<int>(number(which, l, h, t, d) * 16.0f) + 64 + static_cast<int>(d % 2) * 128;
  return static_cast<std::uint8_t>(scattered & 0xbf);
}
template <class E>
E made(std::uint8_t bits) {
  E x;
  x.bits = bits;
  return x;
}
/// What such a code stands for, by the definition of its format.
template <class E>
double meaning(std::uint8_t bits) {
  constexpr int fraction_bits = std::same_as<E, float8_e4m3> ? 3 : 2, bias = std::same_as<E, float8_e4m3> ? 7 : 15;
  const int fraction = bits & ((1 << fraction_bits) - 1), exponent = (bits & 0x7f) >> fraction_bits;
  const double magnitude = exponent == 0 ? std::ldexp(fraction, 1 - bias - fraction_bits)
                                         : std::ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
  return bits & 0x80 ? -magnitude : magnitude;
}

/// [token][kv_head][channel] of each layer; 0xff is NaN in both formats.
template <class E>
layer_list<E> codes(part which) {
  return layer_list<E>([=](std::vector<E>& memory, index_t l) {
    for (index_t t = 0; t < shape.capacity; ++t)
      for (index_t h = 0; h < shape.kv_heads; ++h)
        for (index_t d = 0; d < shape.head_dim; ++d)
          memory.push_back(made<E>(t < length ? code(which, l, h, t, d) : std::uint8_t{0xff}));
  });
}

// Powers of two times small integers, so that products are exact.
const std::vector<float> key_scales{0.5f, 3.0f, 0.25f}, value_scales{2.0f, 1.0f, 5.0f};  // [layer]
const std::vector<float> key_head_scales{1.0f, 0.5f, 2.0f, 3.0f, 0.25f, 1.5f};           // [layer][kv_head]
const std::vector<float> value_head_scales{3.0f, 0.25f, 1.0f, 0.5f, 2.0f, 0.75f};

float scale_of(const std::vector<float>& scales, index_t i) { return scales[static_cast<std::size_t>(i)]; }

}  // namespace

TEST_CASE_TEMPLATE("eight-bit codes with a scale of each tensor", E, float8_e4m3, float8_e5m2) {
  const layer_list<E> key_codes = codes<E>(part::keys), value_codes = codes<E>(part::values);
  const std::vector<const E*>&k = key_codes.list, &v = value_codes.list;
  // [per_tensor]
  const auto keys = adapt::token_rows(adapt::separate{k.data()}, shape);
  const auto values = adapt::token_rows(adapt::separate{v.data()}, shape);
  const auto cache = adapt::cache(shape, length, adapt::scaled(keys, shape, {.tensor = key_scales.data()}),
                                  adapt::scaled(values, shape, {.tensor = value_scales.data()}));
  // [/per_tensor]
  static_assert(!RowContiguousView<decltype(cache.keys(layer_id{}))>);
  check_cache(cache, [](part which, index_t l, index_t h, index_t t, index_t d) {
    return static_cast<float>(meaning<E>(code(which, l, h, t, d))) *
           scale_of(which == part::keys ? key_scales : value_scales, l);
  });
}

TEST_CASE_TEMPLATE("eight-bit codes with a scale of each head, and of each tensor besides", E, float8_e4m3,
                   float8_e5m2) {
  const layer_list<E> key_codes = codes<E>(part::keys), value_codes = codes<E>(part::values);
  const std::vector<const E*>&k = key_codes.list, &v = value_codes.list;
  const auto keys = adapt::token_rows(adapt::separate{k.data()}, shape);
  const auto values = adapt::token_rows(adapt::separate{v.data()}, shape);
  // [per_head]
  const auto cache =
      adapt::cache(shape, length, adapt::scaled(keys, shape, {.heads = key_head_scales.data()}),
                   adapt::scaled(values, shape, {.tensor = value_scales.data(), .heads = value_head_scales.data()}));
  // [/per_head]
  check_cache(cache, [](part which, index_t l, index_t h, index_t t, index_t d) {
    const float x = static_cast<float>(meaning<E>(code(which, l, h, t, d)));
    const index_t of_head = l * shape.kv_heads + h;
    return which == part::keys ? x * scale_of(key_head_scales, of_head)
                               : x * scale_of(value_scales, l) * scale_of(value_head_scales, of_head);
  });
}

TEST_CASE_TEMPLATE("eight-bit codes without a scale have rows", E, float8_e4m3, float8_e5m2) {
  const layer_list<E> key_codes = codes<E>(part::keys), value_codes = codes<E>(part::values);
  const auto keys = adapt::token_rows(adapt::separate{key_codes.list.data()}, shape);
  const auto values = adapt::token_rows(adapt::separate{value_codes.list.data()}, shape);
  const auto expected = [](part which, index_t l, index_t h, index_t t, index_t d) {
    return static_cast<float>(meaning<E>(code(which, l, h, t, d)));
  };
  const auto bare = adapt::cache(shape, length, keys, values);
  static_assert(TokenRunView<decltype(bare.keys(layer_id{}))>);
  check_cache(bare, expected);
  check_cache(adapt::cache(shape, length, adapt::scaled(keys, shape, {}), adapt::scaled(values, shape, {})), expected);
}
