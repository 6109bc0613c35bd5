// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mini_llama {

/// What stands at the front of a text.
struct utf8_front {
  std::size_t bytes;  ///< of the character, or of what decoders replace by one U+FFFD; at least 1
  bool whole;         ///< a character
  bool cut;           ///< the beginning of a character, at the end of the text
};

/// The front of `text`, which is not empty. What is no character is as long as the Unicode standard recommends: the
/// longest beginning of a character, or one byte (section 3.9, "U+FFFD Substitution of Maximal Subparts").
utf8_front front_of(std::string_view text);

/// Where the first byte stands that is part of no character; text.size() where all is UTF-8.
std::size_t utf8_length(std::string_view text);

/// `text` with U+FFFD for whatever is no character.
std::string replace_invalid(std::string_view text);

/// How many bytes at the end of `text` begin a character without finishing it.
std::size_t unfinished(std::string_view text);

/// Appends the character of this code point, below 0x800.
void append_short_character(std::string& text, unsigned code_point);

}  // namespace mini_llama
