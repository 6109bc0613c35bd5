// SPDX-License-Identifier: Apache-2.0
// The version is the same wherever it stands: the header, from which CMake and Conan read it, the changelog, vcpkg's
// manifest, and what the pages tell users to ask for. What CMake makes of it is in the definition below.
#include <doctest/doctest.h>

#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include "docs/markdown.hpp"
#include "kvsharer/version.hpp"

namespace {

const std::filesystem::path root = KVSHARER_SOURCE_DIR;

const std::string version = std::to_string(KVSHARER_VERSION_MAJOR) + "." + std::to_string(KVSHARER_VERSION_MINOR) +
                            "." + std::to_string(KVSHARER_VERSION_PATCH);
const std::string minor = std::to_string(KVSHARER_VERSION_MAJOR) + "." + std::to_string(KVSHARER_VERSION_MINOR);

/// The first group of every match in a text.
std::vector<std::string> all_of(const std::string& text, const std::string& pattern) {
  const std::regex expression(pattern);
  std::vector<std::string> found;
  for (std::sregex_iterator i(text.begin(), text.end(), expression), end; i != end; ++i) found.push_back((*i)[1]);
  return found;
}

std::vector<std::string> in_file(const std::string& path, const std::string& pattern) {
  return all_of(docs::read(root / path), pattern);
}

/// The newest heading of a changelog: "[Unreleased]: 1.2.3" or "[1.2.3] - date".
std::string newest_of(const std::string& changelog) {
  const auto headings = all_of(changelog, "\n## \\[([^\\n]*)");
  if (headings.empty()) return "";
  const auto numbers = all_of(headings.front(), "^(?:Unreleased\\]: )?([0-9]+\\.[0-9]+\\.[0-9]+)(?:$|\\] - [0-9]{4}-)");
  return numbers.empty() ? "" : numbers.front();
}

}  // namespace

TEST_CASE("CMake, and with it pkg-config and the Debian package, have the version of the header") {
  CHECK(version == KVSHARER_PROJECT_VERSION);
}

TEST_CASE("the changelog begins with this version") { CHECK(newest_of(docs::read(root / "CHANGELOG.md")) == version); }

TEST_CASE("the recipes have it") {
  CHECK(in_file("packaging/vcpkg/kvsharer/vcpkg.json", "\"version\": \"([^\"]*)\"") ==
        std::vector<std::string>{version});
  // Conan's reads the header; a number of its own would be one too many.
  CHECK(in_file("packaging/conan/conanfile.py", "\\n *version *= *([^\\n]*)").empty());
  CHECK(in_file("packaging/conan/conanfile.py", "(KVSHARER_VERSION_)").size() == 1);
}

TEST_CASE("no file that is configured with the version has one of its own") {
  CHECK(in_file("cmake/kvsharer.pc.in", "Version: ([^\\n]*)") == std::vector<std::string>{"@PROJECT_VERSION@"});
  CHECK(in_file("CMakeLists.txt", "project\\(kvsharer VERSION ([^ ]*)") ==
        std::vector<std::string>{"${kvsharer_version}"});
}

TEST_CASE("the pages ask for this version") {
  int asked = 0;
  for (const auto& page : docs::pages(root)) {
    CAPTURE(page.string());
    for (const std::string& number : in_file(page.string(), "find_package\\(kvsharer ([0-9.]+)")) {
      CHECK(number == minor);
      ++asked;
    }
  }
  CHECK(asked >= 3);
}

TEST_CASE("headings of changelogs are read, and nothing else is taken for one") {
  CHECK(newest_of("# C\n\n## [Unreleased]: 1.2.3\n\n## [1.2.2] - 2026-01-01\n") == "1.2.3");
  CHECK(newest_of("# C\n\n## [1.2.2] - 2026-01-01\n\n## [Unreleased]: 1.2.3\n") == "1.2.2");
  CHECK(newest_of("# C\n\n## [Unreleased]\n") == "");
  CHECK(newest_of("# C\n\n## [1.2.3-rc1] - 2026-01-01\n") == "");
  CHECK(newest_of("# C\n") == "");
}
