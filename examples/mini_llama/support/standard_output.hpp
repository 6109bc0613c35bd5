// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace mini_llama {

/// Writes `text` to standard output, to be seen at once. Throws load_error where that fails, as on a full disk.
void write_out(std::string_view text);

}  // namespace mini_llama
