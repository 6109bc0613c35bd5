// SPDX-License-Identifier: Apache-2.0
#include "fuzz/target.hpp"
#include "kvsharer/budget/numbers.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const kvsharer::index_t heads : {1, 3}) {
    const auto read = kvsharer::budget::read_numbers(fuzz::text(data, size), heads);
    if (!read) continue;
    const kvsharer::token_budget& b = read.value();
    fuzz::promise(b.sets() > 0 && b.sets() * heads == static_cast<kvsharer::index_t>(b.tokens.size()),
                  "every set has a number for each head");
    fuzz::promise(kvsharer::budget::read_numbers(kvsharer::budget::numbers_text(b), heads).value() == b,
                  "what is written is read");
  }
  return 0;
}
