// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>

#include "kvsharer/core/hash.hpp"

namespace mini_llama {

/// What tells models and texts apart: kvsharer::fnv1a, where a text is followed by its length.
class hash {
 public:
  void add(std::span<const std::byte> bytes) { bytes_.add(bytes); }
  void add(std::string_view text) { bytes_.add(text).add(static_cast<std::int64_t>(text.size())); }
  void add(std::int64_t number) { bytes_.add(number); }

  /// 16 hexadecimal digits.
  std::string digits() const {
    std::array<char, 17> text;
    std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(bytes_.value()));
    return text.data();
  }

 private:
  kvsharer::fnv1a bytes_;
};

}  // namespace mini_llama
