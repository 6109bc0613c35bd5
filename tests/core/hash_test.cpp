// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/hash.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

using namespace kvsharer;

TEST_CASE("published values of FNV-1a, at compile time") {
  // The test vectors of the FNV authors' own code.
  static_assert(fnv1a().value() == 0xcbf29ce484222325u);
  static_assert(fnv1a().add("a").value() == 0xaf63dc4c8601ec8cu);
  static_assert(fnv1a().add("foobar").value() == 0x85944171f73967e8u);
  CHECK(fnv1a().add("foobar").value() == 0x85944171f73967e8u);
}

TEST_CASE("parts one after another are the whole, and a value goes on where it ended") {
  CHECK(fnv1a().add("foo").add("bar").value() == 0x85944171f73967e8u);
  CHECK(fnv1a(fnv1a().add("foo").value()).add("bar").value() == 0x85944171f73967e8u);
  CHECK(fnv1a().add(std::string_view()).value() == fnv1a::basis);
}

TEST_CASE("bytes, characters and numbers agree: a number's lowest byte comes first") {
  constexpr std::array bytes{std::byte{'a'}, std::byte{'b'}, std::byte{'c'}, std::byte{'d'}};
  static_assert(fnv1a().add(bytes).value() == 0xfc179f83ee0724ddu);
  CHECK(fnv1a().add("abcd").value() == 0xfc179f83ee0724ddu);
  CHECK(fnv1a().add(std::int32_t{0x64636261}).value() == 0xfc179f83ee0724ddu);
  CHECK(fnv1a().add(std::int16_t{0x6261}).add(std::uint8_t{'c'}).add('d').value() == 0xfc179f83ee0724ddu);
}

TEST_CASE("a negative number is its two's complement, and a byte above 127 is no negative number") {
  CHECK(fnv1a().add(std::int64_t{-2}).value() == fnv1a().add("\xfe\xff\xff\xff\xff\xff\xff\xff").value());
  // One round by hand: (basis ^ 0xff) * prime modulo 2^64.
  CHECK(fnv1a().add("\xff").value() == (0xcbf29ce484222325u ^ 0xffu) * 1099511628211u);
}
