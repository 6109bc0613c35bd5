// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>

namespace mini_llama {

/// FNV-1a, 64 bit: stable over machines and versions, and enough to tell models and texts apart.
class hash {
 public:
  void add(std::span<const std::byte> bytes) {
    for (const std::byte b : bytes) value_ = (value_ ^ std::to_integer<std::uint64_t>(b)) * 0x100000001b3u;
  }
  void add(std::string_view text) {
    add(std::as_bytes(std::span(text)));
    add(static_cast<std::int64_t>(text.size()));
  }
  void add(std::int64_t number) {
    std::array<std::byte, 8> bytes;
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(number >> (8 * i) & 0xff);
    add(bytes);
  }

  /// 16 hexadecimal digits.
  std::string digits() const {
    std::array<char, 17> text;
    std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value_));
    return text.data();
  }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325u;
};

}  // namespace mini_llama
