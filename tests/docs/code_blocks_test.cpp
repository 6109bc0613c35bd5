// SPDX-License-Identifier: Apache-2.0
// Every block of code in the pages is text of a file that the tests compile.
#include "docs/code_blocks.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace {

const std::filesystem::path root = KVSHARER_SOURCE_DIR;

bool test_includes(const std::string& header) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root / "tests"))
    if (entry.path().string().ends_with("_test.cpp") &&
        docs::read(entry.path()).find(header + "\"") != std::string::npos)
      return true;
  return false;
}

/// Test programs and their further files; headers of the examples that a test program includes; the outside projects
/// that tests configure.
std::optional<std::string> compiled(const std::string& path) {
  const bool program = path.starts_with("tests/") && (path.ends_with("_test.cpp") || path.ends_with("_test.cu"));
  const bool part = path.starts_with("tests/backend/cuda/instantiate/") || path.starts_with("tests/engines/") ||
                    path.starts_with("tests/c/");
  const bool project = path.starts_with("tests/package/");
  const bool header = path.starts_with("examples/") && path.ends_with(".hpp") &&
                      test_includes(std::filesystem::path(path).filename().string());
  if (!(program || part || project || header) || !std::filesystem::exists(root / path)) return std::nullopt;
  return docs::read(root / path);
}

std::vector<std::string> problems(const std::string& page) {
  return docs::block_problems(page, [](const std::string& path) -> std::optional<std::string> {
    if (path != "tests/a_test.cpp") return std::nullopt;
    return "int before;\n  // [one]\n  int x;\n    // [inner]\n\n    int y;\n    // [/inner]\n  // [/one]\n"
           "// [open]\n// [twice]\n// [/twice]\n// [twice]\n// [/twice]\n";
  });
}

std::string block(const std::string& comment, const std::string& code) {
  return "Text.\n\n" + comment + "\n```cpp\n" + code + "```\n";
}

}  // namespace

TEST_CASE("the blocks of all pages are what the tests compile") {
  int blocks = 0;
  for (const auto& page : docs::pages(root)) {
    CAPTURE(page.string());
    const std::string text = docs::read(root / page);
    for (const std::string& problem : docs::block_problems(text, compiled)) FAIL_CHECK(problem);
    for (const docs::block& b : docs::blocks_of(docs::lines_of(text))) blocks += docs::is_code(b);
  }
  CHECK(blocks > 10);
}

TEST_CASE("a block that is equal to its region passes, with or without indentation") {
  CHECK(problems(block("<!-- code: tests/a_test.cpp#one -->", "int x;\n\n  int y;\n")).empty());
  CHECK(problems(block("<!-- code: tests/a_test.cpp#inner -->", "int y;\n")).empty());
  CHECK(problems("1. In a list:\n\n   <!-- code: tests/a_test.cpp#inner -->\n   ```cpp\n   int y;\n   ```\n").empty());
}

TEST_CASE("every other block of code is refused") {
  const std::vector<std::string> wrong{
      block("", "int y;\n"),                                             // no origin
      block("<!-- code: tests/a_test.cpp -->", "int y;\n"),              // no region named
      block("<!-- code: tests/a_test.cpp#other -->", "int y;\n"),        // a region that is not there
      block("<!-- code: tests/a_test.cpp#open -->", ""),                 // never closed
      block("<!-- code: tests/a_test.cpp#twice -->", ""),                // there twice
      block("<!-- code: tests/b_test.cpp#inner -->", "int y;\n"),        // not a compiled file
      block("<!-- code: tests/a_test.cpp#inner -->", "int y ;\n"),       // other text
      block("<!-- code: tests/a_test.cpp#inner -->", "int y;\nint;\n"),  // more text
      "<!-- code: tests/a_test.cpp#inner -->\n\n```cpp\nint y;\n```\n",  // the comment is not on the line above
      "<!-- code: tests/a_test.cpp#inner -->\n```cpp\nint y;\n",         // the fence is open
      "```\nint y;\n```\n",                                              // no language
      "```c++\nint y;\n```\n"};
  for (const std::string& page : wrong) {
    CAPTURE(page);
    CHECK(problems(page).size() == 1);
  }
  CHECK(problems("```console\n$ ls\n```\n").empty());
}

TEST_CASE("only files that tests compile may be quoted") {
  CHECK(compiled("tests/docs/code_blocks_test.cpp").has_value());
  CHECK(!compiled("tests/docs/code_blocks.hpp"));
  CHECK(!compiled("tests/docs/absent_test.cpp"));
  CHECK(!compiled("examples/mini_llama/main.cpp"));
}

// Not a check: `test_docs.code_blocks --no-skip --test-case="bring*"` writes changed regions into the pages.
TEST_CASE("bring the pages up to date" * doctest::skip()) {
  for (const auto& page : docs::pages(root)) {
    if (!std::filesystem::exists(root / page)) continue;
    const std::string text = docs::read(root / page), current = docs::with_current_blocks(text, compiled);
    if (current != text) std::ofstream(root / page, std::ios::binary) << current;
  }
}
