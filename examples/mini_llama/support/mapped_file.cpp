// SPDX-License-Identifier: Apache-2.0
#include "support/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "support/file_itself.hpp"

namespace mini_llama {
namespace {

/// Closes a descriptor; the mapping lives on without it.
struct descriptor {
  int value;
  ~descriptor() {
    if (value >= 0) ::close(value);
  }
};

[[noreturn]] void fail(const std::filesystem::path& file, const char* step) {
  throw load_error(file, std::string(step) + " (" + std::strerror(errno) + "). Check the path and its permissions");
}

/// As refuse_pointer, before anything is mapped that would have to be given back.
void refuse_pointer_behind(int opened, std::size_t size, const std::filesystem::path& file) {
  if (size >= pointer_limit) return;
  std::array<char, pointer_limit> contents;
  const ssize_t n = ::pread(opened, contents.data(), size, 0);
  if (n < 0) fail(file, "cannot be read");
  refuse_pointer(file, {contents.data(), static_cast<std::size_t>(n)});
}

}  // namespace

mapped_file::mapped_file(const std::filesystem::path& file) {
  // Non-blocking, or opening a pipe would wait for a writer.
  const descriptor opened{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (opened.value < 0) refuse_unopened(file);
  struct stat status = {};
  if (::fstat(opened.value, &status) != 0) fail(file, "cannot be examined");
  if (!S_ISREG(status.st_mode)) throw load_error(file, "is not a regular file; name a file of weights");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return;  // nothing that could be mapped
  refuse_pointer_behind(opened.value, size, file);
  void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, opened.value, 0);
  if (address == MAP_FAILED) fail(file, "cannot be mapped into memory");
  data_ = static_cast<const std::byte*>(address);
  size_ = size;
}

mapped_file::~mapped_file() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

mapped_file::mapped_file(mapped_file&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

mapped_file& mapped_file::operator=(mapped_file&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace mini_llama
