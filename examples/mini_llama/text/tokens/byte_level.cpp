// SPDX-License-Identifier: Apache-2.0
#include "text/tokens/byte_level.hpp"

#include "text/tokens/nfc.hpp"
#include "text/tokens/utf8.hpp"

namespace mini_llama {

std::vector<int> byte_level::encode(std::string_view text, bool framed) const {
  std::vector<int> ids;
  if (framed) ids = parts_.before;
  const auto token = [&](int id) { ids.push_back(id); };
  const auto words = [&](std::string_view piece) {
    parts_.words.split(piece, [&](std::string_view word) { append_word(word, ids); });
  };
  parts_.raw.find(text, token, [&](std::string_view piece) {
    if (parts_.composed)
      parts_.normalized.find(nfc(piece), token, words);
    else
      parts_.normalized.find(piece, token, words);
  });
  return ids;
}

void byte_level::append_word(std::string_view word, std::vector<int>& ids) const {
  if (!parts_.whole.empty()) {
    const auto found = parts_.whole.find(std::string(word));
    if (found != parts_.whole.end()) {
      ids.push_back(found->second);
      return;
    }
  }
  parts_.merges.encode(word, ids);
}

std::string_view byte_level::bytes_of(int id) const {
  return id >= 0 && id < vocab() ? std::string_view(parts_.pieces[static_cast<std::size_t>(id)]) : std::string_view();
}

std::string byte_level::decode(std::span<const int> ids) const {
  std::string bytes;
  for (const int id : ids) bytes += bytes_of(id);
  return replace_invalid(bytes);
}

std::string byte_level::decode_next(std::span<const int> ids, std::size_t& known) const {
  std::string bytes;
  for (const int id : ids.subspan(known)) bytes += bytes_of(id);
  // Up to the last token that ends where a character does, or what is broken for good.
  std::size_t at = 0, end = 0, returned = 0;
  for (std::size_t i = known; i < ids.size(); ++i) {
    end += bytes_of(ids[i]).size();
    while (at < end) {
      const utf8_front front = front_of(std::string_view(bytes).substr(at));
      if (front.cut) break;
      at += front.bytes;
    }
    if (at != end) continue;
    known = i + 1;
    returned = end;
  }
  bytes.resize(returned);
  return replace_invalid(bytes);
}

}  // namespace mini_llama
