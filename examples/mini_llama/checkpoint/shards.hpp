// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <vector>

#include "checkpoint/safetensors.hpp"

namespace mini_llama {

/// Maps the weights of a checkpoint folder: model.safetensors, or else the shards that model.safetensors.index.json
/// names. No tensor name occurs in two of the files, and each shard holds exactly the tensors that the index says.
/// Throws load_error when a file is missing or broken, or index and shards do not agree.
std::vector<safetensors_file> open_weights(const std::filesystem::path& directory);

}  // namespace mini_llama
