// SPDX-License-Identifier: Apache-2.0
// One text as each of the files that lie beside a tokenizer.model.
#include "text/tokens/tokens_beside.hpp"

#include "fuzz/target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const char* const names[] = {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"};
  for (const char* name : names) {
    for (const char* other : names) std::filesystem::remove(fuzz::folder().path() / other);
    fuzz::folder().write(name, fuzz::text(data, size));
    try {
      const mini_llama::tokens_beside t = mini_llama::read_tokens_beside(fuzz::folder().path());
      fuzz::promise(t.ids.size() == t.added.size(), "texts and ids of added tokens are each other's");
      for (const auto& [text, id] : t.ids)
        fuzz::promise(!text.empty() && id >= 0 && t.added.at(id).text == text, "an added token has a text and an id");
    } catch (const mini_llama::load_error&) {
    }
  }
  return 0;
}
