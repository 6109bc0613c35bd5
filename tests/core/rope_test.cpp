// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/rope.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

using namespace kvsharer;

namespace {

constexpr double pi = 3.14159265358979323846;

/// The published rule of Llama 3.1, in its own terms: wavelengths against the original context.
double llama3_frequency(double f, double factor, double low, double high, double context) {
  const double wavelength = 2 * pi / f;
  if (wavelength < context / high) return f;
  if (wavelength > context / low) return f / factor;
  const double smooth = (context / wavelength - low) / (high - low);
  return (1 - smooth) * f / factor + smooth * f;
}

}  // namespace

TEST_CASE("frequencies without scaling, by hand") {
  const std::vector<double> f = rope_frequencies({.theta = 10000}, 8);
  REQUIRE(f.size() == 4);
  CHECK(f[0] == doctest::Approx(1).epsilon(1e-14));
  CHECK(f[1] == doctest::Approx(0.1).epsilon(1e-14));
  CHECK(f[2] == doctest::Approx(0.01).epsilon(1e-14));
  CHECK(f[3] == doctest::Approx(0.001).epsilon(1e-14));
}

TEST_CASE("linear scaling divides every frequency") {
  const std::vector<double> f = rope_frequencies({.theta = 10000, .scaling = rope_scaling::linear, .factor = 4}, 4);
  CHECK(f[0] == doctest::Approx(0.25).epsilon(1e-14));
  CHECK(f[1] == doctest::Approx(0.0025).epsilon(1e-14));
}

TEST_CASE("llama3 scaling of the published 8B configuration") {
  const rope_rule rope{.theta = 500000,
                       .scaling = rope_scaling::llama3,
                       .factor = 8,
                       .low_freq_factor = 1,
                       .high_freq_factor = 4,
                       .original_max_position = 8192};
  const std::vector<double> scaled = rope_frequencies(rope, 128);
  int kept = 0, divided = 0, blended = 0;
  for (std::size_t i = 0; i < 64; ++i) {
    const double plain = std::exp(-std::log(500000.0) * static_cast<double>(i) / 64);
    CHECK(scaled[i] == doctest::Approx(llama3_frequency(plain, 8, 1, 4, 8192)).epsilon(1e-12));
    kept += std::abs(scaled[i] - plain) < 1e-12 * plain;
    divided += std::abs(scaled[i] - plain / 8) < 1e-12 * plain;
    blended += scaled[i] < 0.999 * plain && scaled[i] > 1.001 * plain / 8;
  }
  // Wavelengths 2 pi 500000^(i/64): below 2048 up to i = 28, above 8192 from i = 35 on.
  CHECK(kept == 29);
  CHECK(blended == 6);
  CHECK(divided == 29);
}

TEST_CASE("a blended frequency by hand") {
  // Two turns in the original context, between low 1 and high 4: a third of the way, f (1/3 + 2/3 / 8) = f 5/12.
  const double f = 2 * pi * 2 / 100;
  const rope_rule rope{.theta = std::pow(f, -2.0),
                       .scaling = rope_scaling::llama3,
                       .factor = 8,
                       .low_freq_factor = 1,
                       .high_freq_factor = 4,
                       .original_max_position = 100};
  CHECK(rope_frequencies(rope, 4)[1] == doctest::Approx(f * 5 / 12).epsilon(1e-12));
}

TEST_CASE("rotation pairs channel i with i + head_dim / 2, in every head") {
  const double angle = 2;  // theta^0 = 1 radian per position, position 2
  rope_table table;
  table.reserve({.theta = 10000}, 4, 3);
  std::vector<float> row = {1, 2, 3, 4, -1, 0, 0, 1};
  table.rotate(row.data(), 2, 2);
  const double c0 = std::cos(angle), s0 = std::sin(angle), c1 = std::cos(0.02), s1 = std::sin(0.02);
  const double expected[] = {1 * c0 - 3 * s0, 2 * c1 - 4 * s1, 3 * c0 + 1 * s0, 4 * c1 + 2 * s1, -c0, -s1, -s0, c1};
  for (std::size_t i = 0; i < 8; ++i) CHECK(static_cast<double>(row[i]) == doctest::Approx(expected[i]).epsilon(1e-6));
}

TEST_CASE("interleaved rotation pairs channel 2 i with 2 i + 1") {
  rope_table table({.theta = 10000}, 4, 3);
  std::vector<float> row = {1, 2, 3, 4, -1, 0, 0, 1};
  table.rotate(row.data(), 2, 2, rope_pairing::interleaved);
  const double c0 = std::cos(2.0), s0 = std::sin(2.0), c1 = std::cos(0.02), s1 = std::sin(0.02);
  const double expected[] = {1 * c0 - 2 * s0, 2 * c0 + 1 * s0, 3 * c1 - 4 * s1, 4 * c1 + 3 * s1, -c0, -s0, -s1, c1};
  for (std::size_t i = 0; i < 8; ++i) CHECK(static_cast<double>(row[i]) == doctest::Approx(expected[i]).epsilon(1e-6));
  table.unrotate(row.data(), 2, 2, rope_pairing::interleaved);
  CHECK(row[1] == doctest::Approx(2).epsilon(1e-6));
}

TEST_CASE("the channels of a pair know each other") {
  CHECK(channels_of(rope_pairing::half_split, 8, 3) == channel_pair{3, 7});
  CHECK(channels_of(rope_pairing::interleaved, 8, 3) == channel_pair{6, 7});
  for (const rope_pairing pairing : {rope_pairing::half_split, rope_pairing::interleaved})
    for (index_t i = 0; i < 5; ++i) {
      const channel_pair at = channels_of(pairing, 10, i);
      const channel_role real = role_of(pairing, 10, at.real), imaginary = role_of(pairing, 10, at.imaginary);
      CHECK(real.frequency == i);
      CHECK(imaginary.frequency == i);
      CHECK(real.partner == at.imaginary);
      CHECK(imaginary.partner == at.real);
      CHECK(!real.imaginary);
      CHECK(imaginary.imaginary);
    }
}

TEST_CASE("a table lies as cosines and then sines of each position, and begins anew for another rule") {
  rope_table table({.theta = 100}, 4, 2);
  REQUIRE(table.numbers().size() == 8);  // frequencies 1 and 0.1
  const double at_one[] = {std::cos(1.0), std::cos(0.1), std::sin(1.0), std::sin(0.1)};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(table.numbers()[i] == (i < 2 ? 1.0f : 0.0f));
    CHECK(table.numbers()[4 + i] == doctest::Approx(at_one[i]).epsilon(1e-7));
    CHECK(table.turn(1)[i] == table.numbers()[4 + i]);
  }
  table.reserve({.theta = 10000}, 4, 2);
  CHECK(table.turn(1)[3] == doctest::Approx(std::sin(0.01)).epsilon(1e-7));
  table.reserve({.theta = 10000}, 2, 1);
  CHECK(table.positions() == 1);
  CHECK(table.numbers().size() == 2);
  CHECK(table.head_dim() == 2);
}

TEST_CASE("rules that cannot be are refused, and a table keeps what it had") {
  const auto code = [](const rope_rule& rule, index_t head_dim) {
    try {
      rope_frequencies(rule, head_dim);
    } catch (const error& e) {
      return e.code();
    }
    return errc{};
  };
  CHECK(code({}, 7) == errc::bad_shape);
  CHECK(code({}, 0) == errc::bad_shape);
  CHECK(code({.theta = 0}, 8) == errc::bad_argument);
  CHECK(code({.scaling = rope_scaling::linear, .factor = 0}, 8) == errc::bad_argument);
  CHECK(code({.scaling = rope_scaling::llama3, .low_freq_factor = 4}, 8) == errc::bad_argument);
  CHECK(code({.scaling = rope_scaling::llama3, .original_max_position = 0}, 8) == errc::bad_argument);
  CHECK(code({.low_freq_factor = 4}, 8) == errc{});  // a field of another scaling
  rope_table table({.theta = 100}, 4, 2);
  CHECK_THROWS_AS(table.reserve({}, 5, 9), error);
  CHECK(table.positions() == 2);
  CHECK(table.turn(1)[3] == doctest::Approx(std::sin(0.1)).epsilon(1e-7));
}

TEST_CASE("position 0 changes nothing, and a table that grows keeps what it had") {
  rope_table table;
  table.reserve({}, 8, 5);
  std::vector<float> row = {1, 2, 3, 4, 5, 6, 7, 8}, grown = row;
  const std::vector<float> before = row;
  table.rotate(row.data(), 1, 0);
  CHECK(row == before);
  table.rotate(row.data(), 1, 4);
  table.reserve({}, 8, 1000);
  CHECK(table.positions() == 1000);
  table.rotate(grown.data(), 1, 4);
  CHECK(grown == row);
}

TEST_CASE("turning back undoes turning") {
  rope_table table;
  table.reserve({}, 16, 200);
  std::vector<float> row(32);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i) - 15.5f;
  std::vector<float> there = row;
  table.rotate(there.data(), 2, 137);
  CHECK(std::abs(there[0] - row[0]) > 0.1f);
  table.unrotate(there.data(), 2, 137);
  for (std::size_t i = 0; i < row.size(); ++i) CHECK(there[i] == doctest::Approx(row[i]).epsilon(1e-5));
}

TEST_CASE("late positions are as exact as early ones") {
  rope_table table;
  table.reserve({.theta = 10000}, 2, 100001);
  std::vector<float> row = {1, 0};
  table.rotate(row.data(), 1, 100000);
  CHECK(static_cast<double>(row[0]) == doctest::Approx(std::cos(100000.0)).epsilon(1e-6));
  CHECK(static_cast<double>(row[1]) == doctest::Approx(std::sin(100000.0)).epsilon(1e-6));
}
