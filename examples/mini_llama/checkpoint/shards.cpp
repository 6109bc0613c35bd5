// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/shards.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "support/file_itself.hpp"
#include "support/files.hpp"
#include "support/strict_json.hpp"

namespace mini_llama {
namespace {

using json = nlohmann::json;

/// Shard file names and the tensors each is to hold.
using shard_index = std::map<std::string, std::set<std::string>>;

shard_index read_index(const std::filesystem::path& file) {
  const std::string text = read_text_file(file);
  json root;
  try {
    root = parse_strict_json(text);
  } catch (const invalid_json& e) {
    throw load_error(file, std::string(e.what()) + ". Fetch it again from the checkpoint");
  }
  if (!root.is_object() || !root.contains("weight_map") || !root["weight_map"].is_object() ||
      root["weight_map"].empty())
    throw load_error(file, "has no \"weight_map\" from tensor names to shard files. Fetch it again");
  shard_index shards;
  for (const auto& [tensor, shard] : root["weight_map"].items()) {
    // A path that leads out of the checkpoint is never meant well.
    if (!shard.is_string() || shard.get<std::string>().empty() ||
        std::filesystem::path(shard.get<std::string>()).filename() != shard.get<std::string>())
      throw load_error(file, "places tensor '" + tensor + "' in " + shard.dump() + ", which is not a plain file name");
    shards[shard.get<std::string>()].insert(tensor);
  }
  return shards;
}

void check_agreement(const std::filesystem::path& index_file, const shard_index& shards,
                     const std::vector<safetensors_file>& files, const tensor_filter& matters) {
  const auto refuse = [&](const safetensors_file& file, const std::string& text) {
    throw load_error(file.path(), text + " " + index_file.filename().string() +
                                      "; the files are of different models or versions. Fetch them all again");
  };
  for (const safetensors_file& file : files) {
    const std::set<std::string>& expected = shards.at(file.path().filename().string());
    for (const std::string& tensor : expected)
      if (!file.holds(tensor) && matters(tensor))
        refuse(file, "lacks tensor '" + tensor + "', which it holds according to");
    const auto check_held = [&](const std::string& tensor) {
      if (!expected.contains(tensor) && matters(tensor))
        refuse(file, "holds tensor '" + tensor + "', which it does not according to");
    };
    for (const auto& [tensor, view] : file.tensors()) check_held(tensor);
    for (const auto& [tensor, type] : file.foreign()) check_held(tensor);
  }
}

}  // namespace

std::vector<safetensors_file> open_weights(const std::filesystem::path& directory, const tensor_filter& matters) {
  std::vector<safetensors_file> files;
  const std::filesystem::path single = directory / "model.safetensors";
  if (is_there(single)) {
    files.emplace_back(single);
    return files;
  }
  const std::filesystem::path index_file = directory / "model.safetensors.index.json";
  if (!is_there(index_file))
    throw load_error(directory,
                     "holds neither model.safetensors nor model.safetensors.index.json. Only safetensors checkpoints "
                     "are read; convert others, and fetch the index together with its shards");
  const shard_index shards = read_index(index_file);
  for (const auto& [shard, tensors] : shards) {
    if (!is_there(directory / shard)) {
      if (std::none_of(tensors.begin(), tensors.end(), matters)) continue;
      throw load_error(directory / shard,
                       "is missing, but " + index_file.filename().string() + " names it. Fetch it from the checkpoint");
    }
    files.emplace_back(directory / shard);
  }
  check_agreement(index_file, shards, files, matters);
  return files;
}

}  // namespace mini_llama
