// SPDX-License-Identifier: Apache-2.0
#include "text/text_stream.hpp"

#include <algorithm>

namespace mini_llama {

std::string text_stream::next(int token) {
  ids_.push_back(token);
  std::string text = words_.decode_next(ids_, known_);
  shown_ += text.size();
  return text;
}

std::string text_stream::rest() {
  const std::string all = words_.decode(ids_);
  std::string text = all.substr(std::min(shown_, all.size()));
  shown_ = all.size();
  return text;
}

}  // namespace mini_llama
