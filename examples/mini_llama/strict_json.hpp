// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>

namespace mini_llama {

/// A JSON object that names the same key twice, which the parser alone would let pass; what() is the key.
class duplicate_key : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Parses a whole JSON text. Throws duplicate_key, and nlohmann::json::exception for everything else.
nlohmann::json parse_strict_json(std::string_view text);

}  // namespace mini_llama
