// SPDX-License-Identifier: Apache-2.0
#include "support/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "support/file_itself.hpp"
#include "support/strict_json.hpp"

namespace mini_llama {
namespace {

using json = nlohmann::json;

std::string reason() { return std::strerror(errno); }

/// A file being written under a name of its own, which takes the real name when all went well and vanishes otherwise.
class draft {
 public:
  explicit draft(const std::filesystem::path& file) : file_(file) {
    static std::atomic<unsigned> count = 0;
    // In the same folder: a rename is atomic only within one file system.
    std::string name = ".";
    name.append(file_.filename().string()).append(".").append(std::to_string(::getpid()));
    name.append(".").append(std::to_string(count++)).append(".tmp");
    name_ = file_.parent_path() / name;
    descriptor_ = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0) fail("cannot create a file in its folder");
  }
  draft(const draft&) = delete;
  draft& operator=(const draft&) = delete;
  ~draft() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!kept_) ::unlink(name_.c_str());
  }

  void write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = ::write(descriptor_, text.data(), text.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("writing failed");
      text.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  void keep() {
    if (::fsync(descriptor_) != 0) fail("flushing to the disk failed");
    // Close can report a full disk too, on network file systems.
    if (::close(std::exchange(descriptor_, -1)) != 0) fail("writing failed");
    if (::rename(name_.c_str(), file_.c_str()) != 0) fail("giving the finished file its name failed");
    kept_ = true;
  }

 private:
  [[noreturn]] void fail(const char* step) const {
    throw load_error(file_, std::string("cannot be written; ") + step + " (" + reason() +
                                "). Name a file in an existing folder that you may write to and that has space");
  }

  std::filesystem::path file_, name_;
  int descriptor_ = -1;
  bool kept_ = false;
};

int token_id(const json& value, int vocab, const std::string& where, const std::filesystem::path& file) {
  if (!value.is_number_integer()) throw load_error(file, where + " is " + value.dump() + ", not a whole number");
  const auto id = value.get<std::int64_t>();  // negative for what is beyond its range
  if (id < 0 || id >= vocab)
    throw load_error(file, where + " is " + value.dump() + "; this model's token ids go from 0 to " +
                               std::to_string(vocab - 1) + ". Were the ids made with another tokenizer?");
  return static_cast<int>(id);
}

}  // namespace

std::string read_text_file(const std::filesystem::path& file) {
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored)) throw load_error(file, "is a folder, not a file");
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) refuse_unopened(file);
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad()) throw load_error(file, "cannot be read (" + reason() + ")");
  refuse_pointer(file, text);
  return text;
}

namespace {

void require_place(const std::filesystem::path& file) {
  if (file.filename().empty()) throw load_error(file, "cannot be written: it names no file. Name one");
  // A rename would replace what is not a file, a device among others, by one.
  std::error_code ignored;
  const std::filesystem::file_status before = std::filesystem::status(file, ignored);
  if (std::filesystem::exists(before) && !std::filesystem::is_regular_file(before))
    throw load_error(file, "cannot be written: it exists and is not a regular file. Name another file");
}

}  // namespace

void make_folder(const std::filesystem::path& folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed)
    throw load_error(folder, "cannot be made (" + failed.message() + "). Name a folder that you may write to");
}

void require_writable(const std::filesystem::path& file) {
  require_place(file);
  draft made_and_removed(file);
}

void write_file_atomically(const std::filesystem::path& file, std::string_view text) {
  require_place(file);
  draft d(file);
  d.write(text);
  d.keep();
}

std::vector<std::vector<int>> read_token_ids(const std::filesystem::path& file, int vocab) {
  const std::string text = read_text_file(file);
  const std::string wanted = "; write a JSON array of arrays of token ids, such as [[1, 333, 1457], [1, 425]]";
  json root;
  try {
    root = parse_strict_json(text);
  } catch (const invalid_json& e) {
    throw load_error(file, e.what() + wanted);
  }
  if (!root.is_array()) throw load_error(file, std::string("holds a JSON ") + root.type_name() + wanted);
  if (root.empty()) throw load_error(file, "holds no sequence" + wanted);
  std::vector<std::vector<int>> sequences;
  for (std::size_t s = 0; s < root.size(); ++s) {
    const std::string sequence = "sequence " + std::to_string(s);
    if (!root[s].is_array()) throw load_error(file, sequence + " is a JSON " + root[s].type_name() + wanted);
    if (root[s].empty()) throw load_error(file, sequence + " is empty; give it at least one token, such as BOS");
    std::vector<int>& ids = sequences.emplace_back();
    for (std::size_t i = 0; i < root[s].size(); ++i)
      ids.push_back(token_id(root[s][i], vocab, sequence + ", token " + std::to_string(i), file));
  }
  return sequences;
}

}  // namespace mini_llama
