// SPDX-License-Identifier: Apache-2.0
#include "sweep/results_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "support/files.hpp"
#include "support/strict_json.hpp"

namespace mini_llama {

std::vector<nlohmann::json> whole_lines(const std::string& text, const std::filesystem::path& file, std::size_t& kept) {
  std::vector<nlohmann::json> lines;
  kept = 0;
  while (kept < text.size()) {
    const std::size_t end = text.find('\n', kept);
    if (end == std::string::npos) break;
    try {
      nlohmann::json line = parse_strict_json(std::string_view(text).substr(kept, end - kept));
      if (!line.is_object()) throw invalid_json("is not a JSON object");
      lines.push_back(std::move(line));
    } catch (const invalid_json& e) {
      // The machine itself may have stopped while the file was longer than what had reached the disk.
      if (end + 1 == text.size()) break;
      throw load_error(file,
                       "line " + std::to_string(lines.size() + 1) + " " + e.what() +
                           ". It was damaged or edited; take another folder, or remove that line and all behind it");
    }
    kept = end + 1;
  }
  return lines;
}

results_file::results_file(const std::filesystem::path& file) : file_(file) {
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("cannot be opened for writing");
  try {
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0)
      throw load_error(file, errno == EWOULDBLOCK
                                 ? std::string("is being written by another sweep; wait for it, or take another folder")
                                 : std::string("cannot be locked (") + std::strerror(errno) + ")");
    read();
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

results_file::~results_file() { ::close(descriptor_); }

void results_file::read() {
  std::size_t kept = 0;
  const std::string text = read_text_file(file_);
  lines_ = whole_lines(text, file_, kept);
  if (kept < text.size() && ::ftruncate(descriptor_, static_cast<off_t>(kept)) != 0) fail("cannot be shortened");
}

void results_file::append(const nlohmann::ordered_json& line) {
  const std::string text = line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t n = ::write(descriptor_, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("cannot be written");
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(descriptor_) != 0) fail("cannot be flushed to the disk");
  lines_.push_back(nlohmann::json::parse(text));
}

void results_file::fail(const std::string& what) const {
  throw load_error(file_,
                   what + " (" + std::strerror(errno) + "). Name a folder that you may write to and that has space");
}

}  // namespace mini_llama
