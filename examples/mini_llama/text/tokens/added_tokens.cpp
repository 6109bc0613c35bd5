// SPDX-License-Identifier: Apache-2.0
#include "text/tokens/added_tokens.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace mini_llama {

void added_tokens::add(std::string text, int id) {
  std::vector<added>& same = by_first_byte_[static_cast<unsigned char>(text[0])];
  const auto place =
      std::find_if(same.begin(), same.end(), [&](const added& a) { return a.text.size() < text.size(); });
  same.insert(place, {std::move(text), id});
}

void added_tokens::find(std::string_view text, const std::function<void(int)>& token,
                        const std::function<void(std::string_view)>& between) const {
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::vector<added>& likely = by_first_byte_[static_cast<unsigned char>(text[at])];
    const auto here =
        std::find_if(likely.begin(), likely.end(), [&](const added& a) { return text.substr(at).starts_with(a.text); });
    if (here == likely.end()) {
      ++at;
      continue;
    }
    if (done < at) between(text.substr(done, at - done));
    token(here->id);
    at += here->text.size();
    done = at;
  }
  if (done < text.size()) between(text.substr(done));
}

}  // namespace mini_llama
