// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvsharer/core/error.hpp"

namespace kvsharer::inline v0 {

/// One option of a method, as text.
struct method_option {
  std::string key;    ///< unique among the options of a method
  std::string value;  ///< never empty
  friend bool operator==(const method_option&, const method_option&) = default;
};

/// A method named by data: a name and options in the order in which they were given, written `NAME[:key=value,...]`, as
/// in "native" or "window:sinks=4,recent=508". Which names mean something, known_methods says.
///
/// Valid whenever it exists: names, keys and values are words of letters, digits and `. _ + % -`, and no key comes
/// twice. So the text has one reading, and can stand in lists that commas, colons or spaces separate.
class method_spec {
 public:
  /// The method "none" without options.
  method_spec() = default;

  /// Reads `NAME[:key=value,...]`. Returns errc::bad_rule for any other text.
  static result<method_spec> parse(std::string_view text) {
    method_spec spec;
    const std::size_t colon = text.find(':');
    spec.name_ = text.substr(0, colon);
    if (!is_word(spec.name_)) return no_method(text, "it begins with no name");
    if (colon == text.npos) return spec;
    for (std::string_view rest = text.substr(colon + 1);;) {
      const std::size_t comma = rest.find(',');
      const std::string_view option = rest.substr(0, comma);
      const std::size_t equals = option.find('=');
      if (equals == option.npos || !is_word(option.substr(0, equals)) || !is_word(option.substr(equals + 1)))
        return no_method(text, "\"" + std::string(option) + "\" is not key=value");
      if (spec.option(option.substr(0, equals)) != nullptr)
        return no_method(text, "\"" + std::string(option.substr(0, equals)) + "\" comes twice");
      spec.options_.push_back({std::string(option.substr(0, equals)), std::string(option.substr(equals + 1))});
      if (comma == rest.npos) return spec;
      rest.remove_prefix(comma + 1);
    }
  }

  /// The name alone.
  const std::string& name() const noexcept { return name_; }
  /// The options, in the order in which they were given.
  const std::vector<method_option>& options() const noexcept { return options_; }

  /// The value of an option, or a null pointer if it is not given. O(options).
  const std::string* option(std::string_view key) const noexcept {
    const auto at = std::find_if(options_.begin(), options_.end(), [&](const auto& o) { return o.key == key; });
    return at == options_.end() ? nullptr : &at->value;
  }

  /// What parse() reads.
  std::string text() const {
    std::string all = name_;
    for (const method_option& o : options_) all += (&o == options_.data() ? ":" : ",") + o.key + "=" + o.value;
    return all;
  }

  /// The same name and the same options in the same order.
  friend bool operator==(const method_spec&, const method_spec&) = default;

 private:
  static bool is_word(std::string_view text) noexcept {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             std::string_view("._+%-").find(c) != std::string_view::npos;
    });
  }

  static error no_method(std::string_view text, const std::string& why) {
    return error(errc::bad_rule,
                 "\"" + std::string(text) + "\" does not name a method: " + why + "; write NAME[:key=value,...]");
  }

  std::string name_ = "none";
  std::vector<method_option> options_;
};

}  // namespace kvsharer::inline v0
