// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "fuzz/target.hpp"
#include "text/tokenizer.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::folder().write("tokenizer.json", fuzz::text(data, size));
  try {
    const mini_llama::tokenizer tokens(file);
    fuzz::promise(tokens.vocab() > 0, "a tokenizer that is read has tokens");  // though perhaps none for some bytes
    const std::vector<int> ids = tokens.encode("It's a\xcc\x8a 12\r\n  \xf0\x9f\x99\x82 <|end|>");
    for (const int id : ids) fuzz::promise(id >= 0 && id < tokens.vocab(), "ids are tokens");
    std::string joined;
    std::size_t known = 0;
    for (std::size_t n = 1; n <= ids.size(); ++n)
      joined += tokens.decode_next(std::span<const int>(ids).first(n), known);
    fuzz::promise(tokens.decode(ids).starts_with(joined), "what comes while tokens are made is the text's beginning");
  } catch (const mini_llama::load_error&) {
  }
  return 0;
}
