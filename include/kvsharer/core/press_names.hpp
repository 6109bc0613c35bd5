// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/method_spec.hpp"

namespace kvsharer::inline v0 {

/// A way to drop tokens under one name, as kvpress and other tools call it: the selector and the budget that make it.
struct press_name {
  std::string_view name;      ///< as users know it
  std::string_view selector;  ///< by the names of select/named.hpp
  std::string_view budget;    ///< by the names of budget/named.hpp
};

/// The known ones.
inline constexpr std::array press_names{
    press_name{"streaming_llm", "streaming_llm", "uniform"},
    press_name{"snapkv", "snapkv", "uniform"},
    press_name{"pyramidkv", "snapkv", "pyramidkv"},
    press_name{"adakv", "snapkv", "adakv"},
    press_name{"adakv_snapkv", "snapkv", "adakv"},
    press_name{"zigzagkv", "snapkv", "zigzagkv"},
    press_name{"baklava", "snapkv", "baklava"},
    press_name{"h2o", "h2o", "uniform"},
    press_name{"observed_attention", "observed_attention", "uniform"},
    press_name{"pyramidinfer", "pyramidinfer", "pyramidinfer"},
    press_name{"random", "random", "uniform"},
};

/// A selector and a budget.
struct press_methods {
  method_spec selector;  ///< without options: its defaults
  method_spec budget;    ///< the same
  friend bool operator==(const press_methods&, const press_methods&) = default;
};

/// What a name stands for. Returns errc::unknown_method, with the known names in its text, for another one.
inline result<press_methods> press_named(std::string_view name) {
  std::string names;
  for (const press_name& known : press_names) {
    if (known.name == name)
      return press_methods{method_spec::parse(known.selector).value(), method_spec::parse(known.budget).value()};
    names += (names.empty() ? "" : ", ") + std::string(known.name);
  }
  return error(errc::unknown_method,
               "there is no method \"" + std::string(name) + "\" that drops tokens; this version has: " + names);
}

}  // namespace kvsharer::inline v0
