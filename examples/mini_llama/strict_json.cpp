// SPDX-License-Identifier: Apache-2.0
#include "strict_json.hpp"

#include <set>
#include <string>
#include <vector>

namespace mini_llama {

nlohmann::json parse_strict_json(std::string_view text) {
  using json = nlohmann::json;
  std::vector<std::set<std::string>> open;  // the keys of the objects around the current place
  return json::parse(text.begin(), text.end(), [&](int, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start) open.emplace_back();
    if (event == json::parse_event_t::object_end) open.pop_back();
    if (event == json::parse_event_t::key && !open.back().insert(value.get<std::string>()).second)
      throw duplicate_key(value.get<std::string>());
    return true;
  });
}

}  // namespace mini_llama
