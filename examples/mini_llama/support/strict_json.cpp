// SPDX-License-Identifier: Apache-2.0
#include "support/strict_json.hpp"

#include <set>
#include <string>
#include <vector>

namespace mini_llama {
namespace {

/// A damaged file can hold a key or a string of megabytes.
std::string shortened(const std::string& text) { return text.size() <= 200 ? text : text.substr(0, 200) + "..."; }

}  // namespace

nlohmann::json parse_strict_json(std::string_view text) {
  using json = nlohmann::json;
  using event = json::parse_event_t;
  constexpr int deepest = 100;
  std::vector<std::set<std::string>> open;  // the keys of the objects around the current place
  const auto check = [&](int depth, event happened, json& value) {
    if ((happened == event::object_start || happened == event::array_start) && depth >= deepest)
      throw invalid_json("nests more than " + std::to_string(deepest) + " levels deep");
    if (happened == event::object_start) open.emplace_back();
    if (happened == event::object_end) open.pop_back();
    if (happened == event::key && !open.back().insert(value.get<std::string>()).second)
      throw invalid_json("names '" + shortened(value.get<std::string>()) + "' twice");
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), check);
  } catch (const json::exception& e) {
    throw invalid_json("is not valid JSON (" + shortened(e.what()) + ")");
  }
}

}  // namespace mini_llama
