// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/method_spec.hpp"

namespace kvsharer::inline v0 {

/// A method that a plan may name, and the keys of its options, separated by spaces.
struct known_method {
  std::string_view name;          ///< as in method_spec
  std::string_view options = {};  ///< "sinks recent"; empty if it takes none
};

/// The codecs of this library: how a kept token is stored.
inline constexpr std::array known_codecs{
    known_method{"native"},  // the cache's own element type
};
/// The selectors: which tokens are kept.
inline constexpr std::array known_selectors{
    known_method{"none"},  // every token
};
/// The budgets: how many tokens are kept, and where.
inline constexpr std::array known_budgets{
    known_method{"none"},  // as many as there are
};

/// The methods that a plan may name. An engine with methods of its own passes longer tables.
struct known_methods {
  std::span<const known_method> codecs = known_codecs;        ///< of keys and of values
  std::span<const known_method> selectors = known_selectors;  ///< of tokens
  std::span<const known_method> budgets = known_budgets;      ///< of the plan
};

/// Nothing if `known` has the method with all its options, else errc::unknown_method, which says what there is. `what`
/// names the kind of method in the error text: "codec".
inline std::optional<error> refuse_unknown(const method_spec& method, std::span<const known_method> known,
                                           const std::string& what) {
  const auto at = std::find_if(known.begin(), known.end(), [&](const auto& k) { return k.name == method.name(); });
  if (at == known.end()) {
    std::string names;
    for (const known_method& k : known) names += (names.empty() ? "" : ", ") + std::string(k.name);
    return error(errc::unknown_method,
                 "there is no " + what + " \"" + method.name() + "\"; this version has: " + names);
  }
  for (const method_option& o : method.options())
    if ((" " + std::string(at->options) + " ").find(" " + o.key + " ") == std::string::npos)
      return error(errc::unknown_method, "the " + what + " " + method.name() + " has no option \"" + o.key +
                                             "\"; it takes " +
                                             (at->options.empty() ? "none" : "these: " + std::string(at->options)));
  return std::nullopt;
}

}  // namespace kvsharer::inline v0
