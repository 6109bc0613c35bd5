// SPDX-License-Identifier: Apache-2.0
// docs/troubleshooting.md has a heading for every number that the library can say, and for no other.
#include <doctest/doctest.h>

#include <filesystem>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include "docs/markdown.hpp"

namespace {

const std::filesystem::path root = KVSHARER_SOURCE_DIR;
using numbers = std::set<int>;

/// The first group of every match, as a number.
numbers all_of(const std::string& text, const char* pattern) {
  const std::regex expression(pattern);
  numbers found;
  for (std::sregex_iterator i(text.begin(), text.end(), expression), end; i != end; ++i)
    found.insert(std::stoi((*i)[1]));
  return found;
}

/// What the compiler says: numbers in the texts of static_assert anywhere in the library.
numbers said_when_compiling() {
  numbers found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root / "include"))
    if (entry.is_regular_file()) found.merge(all_of(docs::read(entry.path()), "\"kvsharer E([12][0-9]{2}): "));
  return found;
}

numbers said_when_running() {
  return all_of(docs::read(root / "include/kvsharer/core/error.hpp"), " = ([3-9][0-9]{2}),");
}

numbers headings(const std::string& page) { return all_of("\n" + page, "\n## E([0-9]{3}) [^\n]+"); }

}  // namespace

TEST_CASE("every number has its heading, and every heading its number") {
  numbers said = said_when_running();
  CHECK(said.size() >= 15);
  const numbers compiling = said_when_compiling();
  CHECK(compiling.size() >= 20);
  said.insert(compiling.begin(), compiling.end());
  const numbers written = headings(docs::read(root / "docs/troubleshooting.md"));
  for (int number : said) CHECK_MESSAGE(written.contains(number), "no heading for E", number);
  for (int number : written) CHECK_MESSAGE(said.contains(number), "nothing says E", number);
}

TEST_CASE("a heading is a line of its own with a title") {
  CHECK(headings("## E301 a\ntext ## E302 b\n### E303 c\n## E304\n\n## E305 d\n") == numbers{301, 305});
}
