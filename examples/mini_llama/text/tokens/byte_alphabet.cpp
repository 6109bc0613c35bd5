// SPDX-License-Identifier: Apache-2.0
#include "text/tokens/byte_alphabet.hpp"

#include <array>

#include "text/tokens/utf8.hpp"

namespace mini_llama {
namespace {

constexpr unsigned first_moved = 0x100, moved = 68;

constexpr bool visible(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct alphabet {
  std::array<unsigned, 256> code_point{};
  std::array<int, first_moved + moved> byte{};  // -1 for what is no letter

  constexpr alphabet() {
    byte.fill(-1);
    unsigned next = first_moved;
    for (unsigned b = 0; b < 256; ++b) {
      code_point[b] = visible(b) ? b : next++;
      byte[code_point[b]] = static_cast<int>(b);
    }
  }
};

constexpr alphabet letters;

}  // namespace

std::string byte_letter(unsigned char byte) {
  std::string letter;
  append_short_character(letter, letters.code_point[byte]);
  return letter;
}

std::optional<std::string> spelled_bytes(std::string_view piece) {
  std::string bytes;
  for (std::size_t i = 0; i < piece.size(); ++i) {
    unsigned code_point = static_cast<unsigned char>(piece[i]);
    if (code_point >= 0x80) {
      // All letters have one or two bytes.
      if (code_point < 0xC2 || code_point > 0xDF || i + 1 == piece.size()) return std::nullopt;
      code_point = (code_point & 0x1F) << 6 | (static_cast<unsigned char>(piece[++i]) & 0x3F);
    }
    if (code_point >= letters.byte.size() || letters.byte[code_point] < 0) return std::nullopt;
    bytes += static_cast<char>(letters.byte[code_point]);
  }
  return bytes;
}

}  // namespace mini_llama
