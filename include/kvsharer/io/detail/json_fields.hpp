// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "kvsharer/core/error.hpp"

/// What reading any part of a plan file needs. Errors contain `file`, the file's path.
namespace kvsharer::inline v0::detail {

/// The name of a value in a table of pairs (value, name).
template <class Names, class Value>
const char* name_of(const Names& names, Value value) {
  for (const auto& [v, name] : names)
    if (v == value) return name;
  return "";
}

/// The inverse. Throws errc::plan_syntax for a name that is not in the table.
template <class Names>
auto named(const Names& names, const std::string& text, const std::string& file) {
  for (const auto& [v, name] : names)
    if (text == name) return v;
  throw error(errc::plan_syntax, file + " names an unknown outcome \"" + text + "\"");
}

/// One entry per line, so that a person can read the file and `diff` can show what changed.
inline std::string lines(const nlohmann::json& rows, const std::string& indent) {
  std::string text = "[";
  for (std::size_t i = 0; i < rows.size(); ++i) text += (i ? ",\n  " : "\n  ") + indent + rows[i].dump();
  return text + (rows.empty() ? "]" : "\n" + indent + "]");
}

/// A value as a message shows it: for arrays and objects, only the type.
inline std::string said(const nlohmann::json& j) { return j.is_structured() ? j.type_name() : j.dump(); }

/// An integer in the range of Int. Throws errc::plan_syntax for anything else.
template <std::integral Int>
Int whole(const nlohmann::json& j, const std::string& file) {
  const bool holds = j.is_number_unsigned()  ? std::in_range<Int>(j.get<std::uint64_t>())
                     : j.is_number_integer() ? std::in_range<Int>(j.get<std::int64_t>())
                                             : false;
  if (!holds)
    throw error(errc::plan_syntax, file + " has " + said(j) + " where an integer from " +
                                       std::to_string(std::numeric_limits<Int>::lowest()) + " to " +
                                       std::to_string(std::numeric_limits<Int>::max()) + " is expected");
  return j.get<Int>();
}

/// Throws errc::plan_syntax unless `j` is an object without other fields than these: one that is passed over could be
/// of a later version, and change what the others mean. `what` is where the object stands in the file.
inline void only_fields(const nlohmann::json& j, std::initializer_list<std::string_view> known, const std::string& what,
                        const std::string& file) {
  if (!j.is_object()) throw error(errc::plan_syntax, file + ": " + what + " is not an object");
  for (const auto& [field, value] : j.items())
    if (std::find(known.begin(), known.end(), field) == known.end())
      throw error(errc::plan_syntax, file + ": " + what + " has the field \"" + field +
                                         "\", which this version of kvsharer does not know; a later one may have "
                                         "written it");
}

}  // namespace kvsharer::inline v0::detail
