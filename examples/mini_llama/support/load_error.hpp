// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>

namespace mini_llama {

/// A file that cannot be used. The text names the file, what is wrong with it and what to do.
class load_error : public std::runtime_error {
 public:
  explicit load_error(const std::string& text) : std::runtime_error(text) {}
  load_error(const std::filesystem::path& file, const std::string& text) : load_error(file.string() + ": " + text) {}
};

}  // namespace mini_llama
