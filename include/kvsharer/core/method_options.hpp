// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <concepts>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/method_spec.hpp"

namespace kvsharer::inline v0 {

/// Reads the options of a method into variables; those that are not given stay as they are. The first value that cannot
/// be read is kept as the failure, and nothing is read after it.
class method_options {
 public:
  /// Borrows the method.
  explicit method_options(const method_spec& method) : method_(method) {}

  /// A whole number, or a number with a fraction, which may be written in per cent: "20%".
  template <class T>
  requires(std::integral<T> || std::floating_point<T>) method_options& number(std::string_view key, T& to) {
    return read(key, "a number", [&](std::string_view text) {
      bool per_cent = false;
      if constexpr (std::floating_point<T>) {
        per_cent = text.ends_with('%');
        if (per_cent) text.remove_suffix(1);
      }
      T value{};
      const auto [stopped, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (failure != std::errc{} || stopped != text.data() + text.size()) return false;
      if constexpr (std::floating_point<T>) value = per_cent ? value / 100 : value;
      to = value;
      return true;
    });
  }

  /// "yes" or "no".
  method_options& flag(std::string_view key, bool& to) { return word(key, to, {{"yes", true}, {"no", false}}); }

  /// One of some words, each of which stands for a value.
  template <class T>
  method_options& word(std::string_view key, T& to, std::initializer_list<std::pair<std::string_view, T>> words) {
    std::string names;
    for (const auto& w : words)
      names += (names.empty() ? "" : w.first == (words.end() - 1)->first ? " or " : ", ") + std::string(w.first);
    return read(key, names, [&](std::string_view text) {
      for (const auto& w : words)
        if (w.first == text) {
          to = w.second;
          return true;
        }
      return false;
    });
  }

  /// The first value that could not be read (errc::bad_rule), if there is one.
  const std::optional<error>& failure() const noexcept { return failure_; }

 private:
  template <class Read>
  method_options& read(std::string_view key, const std::string& wanted, Read&& into) {
    const std::string* text = failure_ ? nullptr : method_.option(key);
    if (text != nullptr && !into(std::string_view(*text)))
      failure_ = error(errc::bad_rule, "\"" + method_.text() + "\" has " + std::string(key) + "=" + *text +
                                           "; its value is to be " + wanted);
    return *this;
  }

  const method_spec& method_;
  std::optional<error> failure_;
};

}  // namespace kvsharer::inline v0
