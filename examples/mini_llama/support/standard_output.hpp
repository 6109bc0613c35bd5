// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace mini_llama {

/// Has output that cannot arrive fail where it is written, instead of ending the program (a closed pipe, a file past
/// the limit of its size) or landing in another file (a standard output that was closed from the start, whose number
/// the next file to be opened would get). For the beginning of main.
void prepare_output();

/// Writes `text` to standard output, to be seen at once. Throws load_error where that fails, as on a full disk. Results
/// go through here and nowhere else.
void write_out(std::string_view text);

/// The same for text as std::printf makes it.
[[gnu::format(printf, 1, 2)]] void print_out(const char* form, ...);

}  // namespace mini_llama
