// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

#include "support/load_error.hpp"

/// What lies in place of a file that was never fetched: a link that leads nowhere, as a copied cache of downloads has
/// them, and a pointer of git-lfs, as a clone without it has them.
namespace mini_llama {

/// Is there anything of this name? A link that leads nowhere is, so that who opens it says so.
bool is_there(const std::filesystem::path& file);

/// Throws load_error for a file that could not be opened: where its link leads, or what errno says.
[[noreturn]] void refuse_unopened(const std::filesystem::path& file);

/// Throws load_error where the contents of a file are a pointer of git-lfs.
void refuse_pointer(const std::filesystem::path& file, std::string_view contents);

/// A pointer of git-lfs is shorter than this.
inline constexpr std::size_t pointer_limit = 1024;

}  // namespace mini_llama
