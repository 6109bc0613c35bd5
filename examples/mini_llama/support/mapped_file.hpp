// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>

#include "support/load_error.hpp"

namespace mini_llama {

/// A file mapped into memory for reading, so that only the parts that are used are ever read from disk. The file must
/// not be cut short while it is mapped. Move only; the bytes stay in place when it is moved.
class mapped_file {
 public:
  /// Throws load_error when the file cannot be opened or mapped, or is a pointer of git-lfs in place of the file.
  explicit mapped_file(const std::filesystem::path& file);
  ~mapped_file();
  mapped_file(mapped_file&& other) noexcept;
  mapped_file& operator=(mapped_file&& other) noexcept;

  /// Null for an empty file.
  const std::byte* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace mini_llama
