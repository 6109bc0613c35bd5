// SPDX-License-Identifier: Apache-2.0
// docs/how-to/run-your-checkpoint.md names every option of the driver's commands, and no other.
#include <doctest/doctest.h>

#include <filesystem>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include "docs/markdown.hpp"

namespace {

const std::filesystem::path root = KVSHARER_SOURCE_DIR;
using names = std::set<std::string>;

/// The first group of every match.
names all_of(const std::string& text, const char* pattern) {
  const std::regex expression(pattern);
  names found;
  for (std::sregex_iterator i(text.begin(), text.end(), expression), end; i != end; ++i) found.insert((*i)[1]);
  return found;
}

names written(const std::string& page) {
  names found = all_of(page, "(--[a-z][a-z-]*)");
  for (const char* of_cmake : {"--workflow", "--preset"}) found.erase(of_cmake);
  return found;
}

}  // namespace

TEST_CASE("the page names the options that the commands have") {
  names options, commands;
  for (const auto& entry : std::filesystem::directory_iterator(root / "examples/mini_llama/commands")) {
    const std::string source = docs::read(entry.path());
    options.merge(all_of(source, "\"(--[a-z-]+)\""));
    commands.merge(all_of(source, "add_subcommand\\(\"([a-z]+)\""));
  }
  CHECK(options.size() > 20);
  CHECK(commands.size() == 9);
  const std::string page = docs::read(root / "docs/how-to/run-your-checkpoint.md");
  for (const std::string& name : options) CHECK_MESSAGE(written(page).contains(name), name, " is not on the page");
  for (const std::string& name : written(page)) CHECK_MESSAGE(options.contains(name), "no command has ", name);
  for (const std::string& name : commands)
    CHECK_MESSAGE(page.find("$ mini_llama " + name) != std::string::npos, name, " is not shown");
}

TEST_CASE("options are found in text and tables") {
  CHECK(written("| `--share C` | --top-p,\n$ cmake --workflow --preset demo") == names{"--share", "--top-p"});
}
