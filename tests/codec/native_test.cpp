// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/codec/native.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <vector>

#include "kvsharer/runtime/page_format.hpp"

using namespace kvsharer;

TEST_CASE_TEMPLATE("native stores rows rounded to its type, and nothing else", E, float, float16, bfloat16) {
  const codec::native<E> native;
  constexpr index_t channels = 3, tokens = 5;
  CHECK(native.columns(channels, tokens) == page_columns{channels * tokens * static_cast<index_t>(sizeof(E)), 0});
  CHECK(native.tail() == tail_rule{0, 1});
  std::vector<std::byte> memory(static_cast<std::size_t>(native.columns(channels, tokens).codes), std::byte{0xff});
  const std::vector<float> rows{0.1f, -2.7f, 1000.3f, 5e-5f, 0.0f, -1.0f};
  native.encode(rows.data(), 2, {memory.data(), nullptr, channels, tokens}, 2);
  const page_part<const std::byte> part{memory.data(), nullptr, channels, tokens};
  for (index_t t = 0; t < 2; ++t)
    for (index_t c = 0; c < channels; ++c)
      CHECK(native.at(part, 2 + t, c) == static_cast<float>(E(rows[static_cast<std::size_t>(t * channels + c)])));
  for (const std::size_t byte : {std::size_t{0}, memory.size() - 1}) CHECK(memory[byte] == std::byte{0xff});
}

TEST_CASE("a page's bytes and columns are what the codec says") {
  const page_format f = format_of(codec::native<bfloat16>(), 16, 2, 64);
  CHECK(f.bytes() == 2 * 16 * 64 * 2);
  CHECK(f.token_bytes() == 2 * 64 * 2);
  CHECK(f.codes_at(1) == 16 * 64 * 2);
  const page_format scaled{.tokens = 32, .heads = 3, .channels = 64, .head = {.codes = 1024, .scales = 256}};
  CHECK(scaled.bytes() == 3 * 1280);
  CHECK(scaled.codes_at(2) == 2048);
  CHECK(scaled.scales_at(0) == 3072);
  CHECK(scaled.scales_at(2) == 3072 + 512);
}
