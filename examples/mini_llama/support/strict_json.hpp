// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>

namespace mini_llama {

/// Why a JSON text is not accepted, in words that follow the name of its file: "is not valid JSON (...)".
class invalid_json : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Parses a whole JSON text. Besides what is no JSON, refuses what the parser alone would let pass: an object that
/// names a key twice, and nesting of more than 100 levels, which would exhaust the stack of whoever walks the value by
/// recursion. Throws invalid_json.
nlohmann::json parse_strict_json(std::string_view text);

}  // namespace mini_llama
