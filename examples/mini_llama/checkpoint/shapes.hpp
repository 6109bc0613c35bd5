// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>

#include "checkpoint/config.hpp"

namespace mini_llama {

/// Published models whose sizes are known here by name, so that speed can be measured without their weights.
inline constexpr std::array shape_names{"llama2-7b", "llama2-13b", "llama3-8b", "mistral-7b"};

/// The configuration of one of shape_names, or of a HuggingFace config.json where `name` ends in ".json". Mistral is
/// that of version 0.3, which has no sliding window. Throws usage_error for another name, load_error for the file.
model_config shape_named(const std::string& name);

/// Numbers in all weights of such a model, tied ones once.
long long count_weights(const model_config& config);

}  // namespace mini_llama
