// SPDX-License-Identifier: Apache-2.0
#include "support/json_file.hpp"

#include <string>

#include "support/files.hpp"
#include "support/strict_json.hpp"

namespace mini_llama {

nlohmann::json read_json_object(const std::filesystem::path& file) {
  const std::string text = read_text_file(file);
  nlohmann::json root;
  try {
    root = parse_strict_json(text);
  } catch (const invalid_json& e) {
    throw load_error(file, std::string(e.what()) + ". Fetch it again from the checkpoint");
  }
  if (!root.is_object()) throw load_error(file, std::string("holds a JSON ") + root.type_name() + ", not an object");
  return root;
}

}  // namespace mini_llama
