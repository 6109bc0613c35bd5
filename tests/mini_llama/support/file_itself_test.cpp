// SPDX-License-Identifier: Apache-2.0
// Every way into a checkpoint, where its files were never fetched.
#include "support/file_itself.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "checkpoint/checkpoint.hpp"
#include "golden/golden.hpp"
#include "mini_llama/scratch_directory.hpp"
#include "support/files.hpp"
#include "support/mapped_file.hpp"
#include "text/tokenizer.hpp"

using namespace mini_llama;

namespace {

const std::string pointer =
    "version https://git-lfs.github.com/spec/v1\noid sha256:" + std::string(64, '0') + "\nsize 123\n";

/// The shipped checkpoint, link by link, but for one file.
struct folder_lacking : scratch_directory {
  explicit folder_lacking(const std::string& name) : file(path() / name) {
    for (const auto& entry : std::filesystem::directory_iterator(golden::model_directory()))
      if (entry.path().filename() != name)
        std::filesystem::create_symlink(entry.path(), path() / entry.path().filename());
  }

  /// What is said when the checkpoint is opened, and its words are.
  std::string said() const {
    return refusal([&] {
      const checkpoint weights(path());
      const tokenizer words(tokenizer_file(path()));
    });
  }

  std::filesystem::path file;
};

constexpr const char* files[] = {
    "config.json",       "generation_config.json",           "model.safetensors",
    "tokenizer.model",   "model-00002-of-00003.safetensors", "tokenizer_config.json",
    "added_tokens.json", "special_tokens_map.json",          "model.safetensors.index.json"};

}  // namespace

TEST_CASE("a pointer of git-lfs is named, whichever file it stands for") {
  for (const std::string name : files) {
    const folder_lacking d(name);
    d.write(name, pointer);
    const std::string said = d.said();
    CHECK_MESSAGE(said.starts_with(d.file.string() + ": is a pointer of git-lfs and not the file itself"), said);
    CHECK(has(said, "Run git lfs pull"));
  }
  // What only speaks of git-lfs at length is a text.
  const scratch_directory d;
  const std::string text = pointer + std::string(2000, ' ');
  CHECK(read_text_file(d.write("text", text)) == text);
  CHECK(mapped_file(d.path() / "text").size() == text.size());
}

TEST_CASE("a link that leads nowhere is named, whichever file it stands for") {
  for (const std::string name : files) {
    const folder_lacking d(name);
    std::filesystem::create_symlink("../../blobs/4f2a", d.file);
    CHECK(is_there(d.file));
    const std::string said = d.said();
    CHECK_MESSAGE(said.starts_with(d.file.string() + ": is a link to ../../blobs/4f2a, which is not there"), said);
    CHECK(has(said, "cp -rL"));
  }
  const folder_lacking whole("none");
  CHECK(whole.said() == "(nothing was refused)");
  CHECK(!is_there(whole.file));
}
