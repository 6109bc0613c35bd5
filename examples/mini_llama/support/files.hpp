// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "support/load_error.hpp"

namespace mini_llama {

/// The whole of a file. Throws load_error when it cannot be read, or is a pointer of git-lfs in place of the file.
std::string read_text_file(const std::filesystem::path& file);

/// Writes `text` under a temporary name beside `file`, flushes it to the disk and renames it, so that `file` holds
/// either what it held before or all of `text`. Throws load_error when that fails, and removes the temporary file.
void write_file_atomically(const std::filesystem::path& file, std::string_view text);

/// Makes a folder, and those it lies in, unless it is there. Throws load_error where that fails.
void make_folder(const std::filesystem::path& folder);

/// Throws load_error where write_file_atomically(file, ...) would, before long work whose result is to go there: its
/// folder must be there and take files. Leaves nothing behind.
void require_writable(const std::filesystem::path& file);

/// Reads a JSON array of arrays of token ids, each in [0, vocab) and no array empty. Throws load_error, naming the
/// sequence and the position at fault.
std::vector<std::vector<int>> read_token_ids(const std::filesystem::path& file, int vocab);

}  // namespace mini_llama
