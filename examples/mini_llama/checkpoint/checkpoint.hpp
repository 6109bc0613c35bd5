// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/config.hpp"
#include "checkpoint/safetensors.hpp"

namespace mini_llama {

/// A HuggingFace checkpoint of the Llama family: config.json, and the weights from model.safetensors or from the shards
/// that model.safetensors.index.json names. Weights stay where they lie in the mapped files, unless they are not
/// aligned. Where the configuration ties head and embedding, either may be stored for both, and a stored head that
/// differs from the embedding unties them. Move only.
class checkpoint {
 public:
  /// Throws load_error for a broken or missing file, for shards that do not agree with their index, and for tensors
  /// that this driver would silently leave out of the forward pass, such as a bias that config.json does not call for.
  explicit checkpoint(const std::filesystem::path& directory);

  /// What config.json says, untied where the weights are.
  const model_config& config() const noexcept { return config_; }

  /// What a user should know about these files: whole sentences.
  const std::vector<std::string>& remarks() const noexcept { return remarks_; }

  bool has(const std::string& name) const { return tensors_.contains(name); }

  /// The tensor of this name; the view stays valid, and in place, as long as the checkpoint lives, moved or not. Throws
  /// load_error when it is missing or has another shape.
  const tensor_view& tensor(const std::string& name, std::initializer_list<kvsharer::index_t> shape) const;

  /// All tensors by name, those that the forward pass does not need left out.
  const std::map<std::string, tensor_view>& tensors() const noexcept { return tensors_; }

  /// Bytes of all tensors together.
  kvsharer::index_t weight_bytes() const noexcept;

 private:
  void settle_head();

  std::filesystem::path directory_;
  model_config config_;
  std::vector<safetensors_file> files_;
  std::map<std::string, tensor_view> tensors_;
  std::vector<std::string> remarks_;
};

}  // namespace mini_llama
