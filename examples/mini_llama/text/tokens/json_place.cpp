// SPDX-License-Identifier: Apache-2.0
#include "text/tokens/json_place.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>

namespace mini_llama {

using json = nlohmann::json;

json_place json_place::operator[](const std::string& name) const {
  static const json nothing;
  if (!value.is_object()) want("an object");
  const auto found = value.find(name);
  return {found == value.end() ? nothing : *found, where.empty() ? name : where + "." + name};
}

std::vector<json_place> json_place::list() const {
  if (!value.is_array()) want("a list");
  std::vector<json_place> all;
  for (std::size_t i = 0; i < value.size(); ++i) all.push_back({value[i], where + "[" + std::to_string(i) + "]"});
  return all;
}

const std::string& json_place::text() const {
  if (!value.is_string()) want("a string");
  return value.get_ref<const std::string&>();
}

int json_place::id() const {
  constexpr std::int64_t most = std::int64_t{1} << 30;
  // A number beyond the range of int64_t reads as a negative one.
  if (!value.is_number_integer() || value.get<std::int64_t>() < 0 || value.get<std::int64_t>() > most)
    want("a token id");
  return static_cast<int>(value.get<std::int64_t>());
}

bool json_place::flag(bool otherwise) const {
  if (absent()) return otherwise;
  if (!value.is_boolean()) want("true or false");
  return value.get<bool>();
}

std::string json_place::shown() const {
  const std::string text = value.dump(-1, ' ', true);
  return text.size() <= 100 ? text : text.substr(0, 100) + "...";
}

void json_place::want(const std::string& what) const {
  throw broken_json((where.empty() ? "the whole" : where) + " is " + shown() + ", not " + what);
}

void json_place::refuse() const { throw unsupported_json(where + " is " + shown()); }

void json_place::must_be_off() const {
  if (!absent() && value != json(false) && value != json("") && value != json(0)) refuse();
}

std::vector<json_place> flattened(const json_place& step, const std::string& parts) {
  if (step.absent()) return {};
  if (step["type"].text() != "Sequence") return {step};
  std::vector<json_place> all;
  for (const json_place& part : step[parts].list())
    for (const json_place& inner : flattened(part, parts)) all.push_back(inner);
  return all;
}

}  // namespace mini_llama
