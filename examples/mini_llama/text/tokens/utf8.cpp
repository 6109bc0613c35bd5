// SPDX-License-Identifier: Apache-2.0
#include "text/tokens/utf8.hpp"

#include <algorithm>

namespace mini_llama {

utf8_front front_of(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {1, true, false};
  if (lead < 0xC2 || lead > 0xF4) return {1, false, false};
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte tells spellings that are too long, surrogates and what lies beyond U+10FFFF.
  unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {i, false, true};
    if (byte(i) < low || byte(i) > high) return {i, false, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true, false};
}

std::size_t utf8_length(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const utf8_front front = front_of(text.substr(at));
    if (!front.whole) break;
    at += front.bytes;
  }
  return at;
}

std::string replace_invalid(std::string_view text) {
  std::string good;
  while (!text.empty()) {
    const utf8_front front = front_of(text);
    good += front.whole ? text.substr(0, front.bytes) : "\xEF\xBF\xBD";
    text.remove_prefix(front.bytes);
  }
  return good;
}

std::size_t unfinished(std::string_view text) {
  for (std::size_t n = 1; n <= std::min<std::size_t>(3, text.size()); ++n)
    if (front_of(text.substr(text.size() - n)).cut) return n;
  return 0;
}

void append_short_character(std::string& text, unsigned code_point) {
  if (code_point < 0x80) {
    text += static_cast<char>(code_point);
  } else {
    text += static_cast<char>(0xC0 | code_point >> 6);
    text += static_cast<char>(0x80 | (code_point & 0x3F));
  }
}

}  // namespace mini_llama
