// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace mini_llama {

/// A file that is broken, in words that follow its name.
class broken_json : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A file that asks for what is not supported: where, and what stands there.
class unsupported_json : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A value of a JSON file, and where it stands in it: "model.vocab". Borrows the value. What reads it as another kind
/// of value than it is throws broken_json.
struct json_place {
  const nlohmann::json& value;
  std::string where;

  /// A member, or null where there is none.
  json_place operator[](const std::string& name) const;

  std::vector<json_place> list() const;
  const std::string& text() const;

  /// A token id.
  int id() const;

  /// True or false; `otherwise` where there is nothing.
  bool flag(bool otherwise) const;

  bool absent() const { return value.is_null(); }

  /// The value as text, for messages.
  std::string shown() const;

  /// Throws broken_json: "model.vocab is 3, not an object".
  [[noreturn]] void want(const std::string& what) const;

  /// Throws unsupported_json.
  [[noreturn]] void refuse() const;

  /// Refuses what is there unless it says nothing: null, false, 0 or an empty string.
  void must_be_off() const;
};

/// The steps of a Sequence, whose member `parts` lists them, and theirs; a step that is no Sequence alone; none for
/// null.
std::vector<json_place> flattened(const json_place& step, const std::string& parts);

}  // namespace mini_llama
