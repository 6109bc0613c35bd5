// SPDX-License-Identifier: Apache-2.0
#include "sweep/origin.hpp"

#include <set>
#include <string>
#include <string_view>

#include "support/hash.hpp"
#include "support/version.hpp"

namespace mini_llama {
namespace {

nlohmann::ordered_json describe(const source_text& text) {
  hash h;
  h.add(text.content);
  return {{"name", text.file.filename().string()}, {"hash", h.digits()}};
}

/// Of a folder, however its path ends.
std::string folder_name(const std::filesystem::path& folder) {
  const std::filesystem::path whole = std::filesystem::weakly_canonical(folder);
  return whole.has_filename() ? whole.filename().string() : whole.parent_path().filename().string();
}

std::string shown(const nlohmann::json& flat, const std::string& key) {
  return flat.contains(key) ? flat.at(key).dump() : "missing";
}

}  // namespace

nlohmann::ordered_json describe_origin(const session& s, const sweep_setting& setting,
                                       const std::vector<combination>& all) {
  using json = nlohmann::ordered_json;
  const model_config& c = s.llama.config();
  json combinations = json::array();
  for (const combination& one : all) combinations.push_back(to_json(one));
  return {{"kvsharer_sweep", 2},
          {"program", version_text()},
          {"model",
           {{"name", folder_name(s.directory)},
            {"fingerprint", s.identity.fingerprint},
            {"architecture", c.architecture},
            {"layers", c.layers},
            {"hidden", c.hidden},
            {"heads", c.heads},
            {"kv_heads", c.kv_heads},
            {"head_dim", c.head_dim},
            {"vocab", c.vocab},
            {"rope", s.identity.rope}}},
          {"text", describe(setting.text)},
          {"calibration", describe(setting.calibration)},
          {"backend", setting.backend},
          {"device", setting.device},
          {"dtype", setting.type},
          {"similarity", setting.similarity},
          {"sample_tokens", setting.sample_tokens},
          {"window", setting.window},
          {"tokens", setting.tokens},
          {"prompt_tokens", setting.prompt_tokens},
          {"new_tokens", setting.new_tokens},
          {"moves", setting.moves},
          {"plan", combinations}};
}

void check_same_origin(const nlohmann::json& there, const nlohmann::ordered_json& here,
                       const std::filesystem::path& file) {
  const nlohmann::json theirs = there.flatten(), ours = nlohmann::json::parse(here.dump()).flatten();
  std::set<std::string> keys;
  for (const nlohmann::json& side : {theirs, ours})
    for (const auto& item : side.items()) keys.insert(item.key());
  std::string differences;
  int count = 0;
  for (const std::string& key : keys) {
    if (key.ends_with("/name") || shown(theirs, key) == shown(ours, key)) continue;
    if (++count <= 3)
      differences += (differences.empty() ? "" : ", ") + key.substr(1) + " " + shown(theirs, key) +
                     " (now: " + shown(ours, key) + ")";
  }
  if (count == 0) return;
  if (count > 3) differences += ", and " + std::to_string(count - 3) + " more";
  throw load_error(file, "this folder holds another sweep: " + differences +
                             ". Give --out another folder, or repeat the command that this one was made with");
}

}  // namespace mini_llama
