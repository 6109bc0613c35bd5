// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "run/session.hpp"
#include "sweep/combinations.hpp"

namespace mini_llama {

/// A file that results depend on.
struct source_text {
  std::filesystem::path file;
  std::string content;
};

/// What is measured, and on what, besides the combinations.
struct sweep_setting {
  source_text text, calibration;
  std::string backend, device, type;  ///< as a workplace tells them
  std::string similarity;
  int sample_tokens = 64;
  kvsharer::index_t window = 512;
  std::size_t tokens = 0;  ///< of the text that are predicted
  kvsharer::index_t prompt_tokens = 0, new_tokens = 0;
  bool moves = true;  ///< single moves are scored, too
};

/// What a sweep's folder was made for, as model.json holds it: model, text, combinations and program. Files are known
/// by a hash of their content; their names are for people.
nlohmann::ordered_json describe_origin(const session& s, const sweep_setting& setting,
                                       const std::vector<combination>& all);

/// Throws load_error, naming each difference, unless `there`, read from `file`, is `here`. Names may differ.
void check_same_origin(const nlohmann::json& there, const nlohmann::ordered_json& here,
                       const std::filesystem::path& file);

}  // namespace mini_llama
