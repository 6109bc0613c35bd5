// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cctype>

#include "text/tokens/pattern.hpp"

namespace mini_llama {
namespace {

/// The characters of \s, as the inside of a class: Unicode's White_Space.
constexpr std::string_view white_space = "\\p{Z}\\t-\\r\\x{85}";

[[noreturn]] void refuse(std::string_view construct) {
  throw invalid_pattern("uses '" + std::string(construct) + "', which is not supported");
}

class translation {
 public:
  explicit translation(std::string_view source) : rest_(source) {}

  std::string run() {
    while (!rest_.empty()) {
      if (rest_[0] == '\\')
        escape();
      else if (in_class_)
        class_member();
      else
        outside();
    }
    return out_;
  }

 private:
  void escape() {
    if (rest_.size() < 2) refuse("\\");
    const char c = rest_[1];
    if (c == 's') return replace(2, in_class_ ? std::string(white_space) : "[" + std::string(white_space) + "]");
    if (c == 'S' && !in_class_) return replace(2, "[^" + std::string(white_space) + "]");
    if (c == 'u' && rest_.size() >= 6) return replace(6, "\\x{" + std::string(rest_.substr(2, 4)) + "}");
    const bool plain = static_cast<unsigned char>(c) < 0x80 && std::isalnum(static_cast<unsigned char>(c)) == 0;
    if (!plain && std::string_view("dDpPrntfx").find(c) == std::string_view::npos) refuse(rest_.substr(0, 2));
    // The braces of \p{L} are no count.
    const std::size_t closing =
        std::string_view("pPx").find(c) == std::string_view::npos || !rest_.substr(2).starts_with("{")
            ? std::string_view::npos
            : rest_.find('}');
    copy(closing == std::string_view::npos ? 2 : closing + 1);
  }

  void class_member() {
    // Nested classes and their intersection are Oniguruma's alone.
    if (rest_[0] == '[' || rest_.starts_with("&&")) refuse(rest_.substr(0, rest_[0] == '[' ? 1 : 2));
    if (rest_[0] == ']') in_class_ = false;
    copy(1);
  }

  void outside() {
    if (rest_[0] == '[') {
      in_class_ = true;
      copy(rest_.starts_with("[^") ? 2 : 1);
      if (rest_.starts_with("]")) refuse("[]");
      return;
    }
    if (rest_.starts_with("(?")) {
      static constexpr std::array<std::string_view, 7> groups = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:"};
      const auto* known =
          std::find_if(groups.begin(), groups.end(), [&](std::string_view g) { return rest_.starts_with(g); });
      if (known == groups.end()) refuse(rest_.substr(0, 3));
      return copy(known->size());
    }
    for (const std::string_view other : {"(*", "{,", "}+"})
      if (rest_.starts_with(other)) refuse(other);
    copy(1);
  }

  void copy(std::size_t n) { replace(n, std::string(rest_.substr(0, n))); }

  void replace(std::size_t n, const std::string& by) {
    out_ += by;
    rest_.remove_prefix(n);
  }

  std::string_view rest_;
  std::string out_;
  bool in_class_ = false;
};

}  // namespace

std::string translated_pattern(std::string_view expression) { return translation(expression).run(); }

}  // namespace mini_llama
