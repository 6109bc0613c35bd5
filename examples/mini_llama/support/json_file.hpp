// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "support/load_error.hpp"

namespace mini_llama {

/// The JSON object that a file of a checkpoint holds, parsed strictly. Throws load_error.
nlohmann::json read_json_object(const std::filesystem::path& file);

}  // namespace mini_llama
