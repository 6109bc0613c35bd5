// SPDX-License-Identifier: Apache-2.0
#include "support/files.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "mini_llama/scratch_directory.hpp"

using namespace mini_llama;

namespace {

/// No file of this process can grow beyond so many bytes: a disk that fills up in the middle of a write.
class limited_file_size {
 public:
  explicit limited_file_size(rlim_t bytes) : signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  limited_file_size(const limited_file_size&) = delete;
  limited_file_size& operator=(const limited_file_size&) = delete;
  ~limited_file_size() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_);
  }

 private:
  rlimit before_ = {};
  void (*signal_)(int);
};

std::size_t entries(const std::filesystem::path& directory) {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++n;
  return n;
}

/// What is said against this file of token ids, for a vocabulary of 100; always begins with the file.
std::string refused_ids(std::string_view text) {
  const scratch_directory d;
  const std::filesystem::path file = d.write("ids.json", text);
  const std::string said = refusal([&] { read_token_ids(file, 100); });
  CHECK_MESSAGE(said.starts_with(file.string() + ": "), said);
  return said;
}

void check_refused_ids(std::string_view text, std::string_view what) {
  const std::string said = refused_ids(text);
  CHECK_MESSAGE(has(said, what), said);
}

}  // namespace

TEST_CASE("files are read whole") {
  const scratch_directory d;
  const std::string bytes("a\0b\r\n\xff", 6);
  CHECK(read_text_file(d.write("some", bytes)) == bytes);
  CHECK(read_text_file(d.write("none", "")).empty());
  CHECK(has(refusal([&] { read_text_file(d.path() / "absent"); }), "absent: cannot be opened (No such file"));
  CHECK(has(refusal([&] { read_text_file(d.path()); }), "is a folder, not a file"));
}

TEST_CASE("a written file takes the place of the older one and leaves nothing beside it") {
  const scratch_directory d;
  const std::filesystem::path file = d.path() / "result.json";
  write_file_atomically(file, "first");
  CHECK(read_text_file(file) == "first");
  const std::string large(3'000'000, 'y');
  write_file_atomically(file, large);
  CHECK(read_text_file(file) == large);
  write_file_atomically(file, "");
  CHECK(read_text_file(file).empty());
  CHECK(entries(d.path()) == 1);
}

TEST_CASE("a file without a folder in its name is written where the program runs") {
  const scratch_directory d;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(d.path());
  const std::string said = refusal([] { write_file_atomically("here.json", "x"); });
  std::filesystem::current_path(before);
  CHECK(said == "(nothing was refused)");
  CHECK(read_text_file(d.path() / "here.json") == "x");
}

TEST_CASE("a write that fails half way leaves the older file as it was, and no other") {
  const scratch_directory d;
  const std::filesystem::path file = d.write("result.json", "older");
  std::string said;
  {
    const limited_file_size full(1000);
    said = refusal([&] { write_file_atomically(file, std::string(100'000, 'x')); });
  }
  CHECK_MESSAGE(said.starts_with(file.string() + ": cannot be written; writing failed (File too large)"), said);
  CHECK(has(said, "that has space"));
  CHECK(read_text_file(file) == "older");
  CHECK(entries(d.path()) == 1);
}

TEST_CASE("places where no file can be written") {
  const scratch_directory d;
  const std::filesystem::path absent = d.path() / "absent" / "result.json";
  const std::string said = refusal([&] { write_file_atomically(absent, "x"); });
  CHECK_MESSAGE(said.starts_with(absent.string() + ": cannot be written; cannot create a file in its folder"), said);
  CHECK(has(said, "Name a file in an existing folder"));
  CHECK(!std::filesystem::exists(absent.parent_path()));

  CHECK(has(refusal([&] { write_file_atomically(d.path(), "x"); }), "is not a regular file"));
  CHECK(has(refusal([] { write_file_atomically("/dev/null", "x"); }), "is not a regular file"));
  CHECK(has(refusal([&] { write_file_atomically(d.path() / std::string(300, 'n'), "x"); }), "cannot be written"));
  CHECK(entries(d.path()) == 0);
}

TEST_CASE("token ids") {
  const scratch_directory d;
  CHECK(read_token_ids(d.write("ids.json", " [[0, 99], [5],\n[7, 7, 7]] "), 100) ==
        std::vector<std::vector<int>>{{0, 99}, {5}, {7, 7, 7}});
}

TEST_CASE("files that are no token ids say which sequence and token is at fault") {
  check_refused_ids("", "is not valid JSON");
  check_refused_ids("[[1, 2], [3", "is not valid JSON");
  check_refused_ids("{\"ids\": [[1]]}", "holds a JSON object; write a JSON array of arrays of token ids");
  check_refused_ids("[]", "holds no sequence");
  check_refused_ids("[1, 2]", "sequence 0 is a JSON number; write a JSON array of arrays");
  check_refused_ids("[[1], []]", "sequence 1 is empty; give it at least one token");
  check_refused_ids("[[1], [2, 100]]", "sequence 1, token 1 is 100; this model's token ids go from 0 to 99");
  check_refused_ids("[[1], [2, 100]]", "another tokenizer?");
  check_refused_ids("[[-1]]", "sequence 0, token 0 is -1; this");
  check_refused_ids("[[1, 2.0]]", "sequence 0, token 1 is 2.0, not a whole number");
  check_refused_ids("[[true]]", "sequence 0, token 0 is true, not a whole number");
  check_refused_ids("[[\"1\"]]", "is \"1\", not a whole number");
  check_refused_ids("[[[1]]]", "is [1], not a whole number");
  // These two would wrap to 0 and 1.
  check_refused_ids("[[4294967296]]", "is 4294967296; this");
  check_refused_ids("[[18446744073709551615]]", "is 18446744073709551615; this");
  check_refused_ids("[[" + std::string(1'000'000, '['), "nests more than 100 levels deep");
}
