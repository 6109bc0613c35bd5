// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.hpp"

#include <string>
#include <vector>

#include "fuzz/target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::folder().write("tokenizer.model", fuzz::text(data, size));
  try {
    const mini_llama::tokenizer tokens(file);
    fuzz::promise(tokens.vocab() > 0, "a model has pieces");
    const std::vector<int> ids = tokens.encode("a \xc3\xa9 b");
    for (const int id : ids) fuzz::promise(id >= 0 && id < tokens.vocab(), "ids are pieces");
    std::string joined;
    for (std::size_t n = 1, known = 0; n <= ids.size(); ++n)
      joined += tokens.decode_next(std::span<const int>(ids).first(n), known);
    fuzz::promise(joined.size() <= tokens.decode(ids).size(), "what comes while tokens are made is part of the text");
  } catch (const mini_llama::load_error&) {
  }
  return 0;
}
