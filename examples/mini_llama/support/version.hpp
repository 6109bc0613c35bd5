// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace mini_llama {

/// What `mini_llama --version` prints, and what result files say they were made by.
std::string version_text();

}  // namespace mini_llama
