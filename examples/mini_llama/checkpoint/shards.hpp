// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "checkpoint/safetensors.hpp"

namespace mini_llama {

/// Does a tensor of this name matter?
using tensor_filter = std::function<bool(const std::string& name)>;

/// Maps the weights of a checkpoint folder: model.safetensors, or else the shards that model.safetensors.index.json
/// names. Of the tensors that matter, no name occurs in two of the files, and each shard holds exactly those that the
/// index says; about the others they may differ, as files of different versions do. Throws load_error when a file is
/// missing or broken, or index and shards do not agree.
std::vector<safetensors_file> open_weights(const std::filesystem::path& directory, const tensor_filter& matters);

}  // namespace mini_llama
