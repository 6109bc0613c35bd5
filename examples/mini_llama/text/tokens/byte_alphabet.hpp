// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mini_llama {

/// Byte-level vocabularies spell every byte as one printable character: those of Latin-1 that can be seen stand for
/// themselves, the other 68 bytes are U+0100 onwards in their order, so that a blank is U+0120 and a newline U+010A.
/// From GPT-2's encoder.

/// The character of a byte.
std::string byte_letter(unsigned char byte);

/// The bytes that a piece of a vocabulary spells, or nothing where a character is outside the alphabet.
std::optional<std::string> spelled_bytes(std::string_view piece);

}  // namespace mini_llama
