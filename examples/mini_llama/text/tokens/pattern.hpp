// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

struct pcre2_real_code_8;

namespace mini_llama {

/// Why a regular expression cannot be used, in words that follow its name.
class invalid_pattern : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A regular expression of a tokenizer.json over UTF-8 text. Reading it from several threads is safe.
class pattern {
 public:
  /// Matches in [begin, end) of a text.
  struct match {
    std::size_t begin, end;
    bool operator==(const match&) const = default;
  };

  /// Throws invalid_pattern where `expression` is none, or uses what translated_pattern refuses.
  static pattern expression(std::string_view expression);

  /// One that matches `text` itself.
  static pattern literal(std::string_view text);

  /// All matches from left to right, none overlapping; empty ones included, but none in an empty text. `text` is UTF-8.
  /// Throws load_error where matching takes more steps than it is allowed.
  std::vector<match> matches(std::string_view text) const;

 private:
  pattern(std::string_view source, unsigned options);

  std::shared_ptr<const pcre2_real_code_8> code_;
};

/// `expression`, written for Oniguruma in its Ruby syntax, for PCRE2. What both read alike is passed on, \s is spelled
/// out, since PCRE2's has U+180E besides, and constructs that they read differently are refused by name: throws
/// invalid_pattern.
std::string translated_pattern(std::string_view expression);

}  // namespace mini_llama
