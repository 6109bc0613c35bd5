// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <string_view>

namespace {

/// The driver's folders from the bottom up: a file includes from its own folder and from those before it.
constexpr std::array<std::string_view, 13> order{"support", "text",   "checkpoint", "network", "run",
                                                 "probe",   "device", "cuda",       "no_cuda", "search",
                                                 "sweep",   "report", "commands"};

auto level(std::string_view folder) { return std::find(order.begin(), order.end(), folder) - order.begin(); }

/// What is wrong with a line of a file in `folder`, or nothing.
std::string fault(const std::filesystem::path& root, const std::string& folder, const std::string& line) {
  static const std::regex include("#include \"([^\"]*)\".*"), assumed(".*\\bis(nan|finite|inf)\\(.*"),
      unchecked(".*\\b(std::printf\\(|puts\\(|putchar\\(|std::cout|stdout\\b).*");
  std::smatch found;
  if (std::regex_match(line, assumed)) return "-ffast-math answers it; kvsharer/core/finite.hpp asks the bits";
  if (folder != "support" && std::regex_match(line, unchecked)) return "write_out and print_out see whether it arrives";
  if (!std::regex_match(line, found, include)) return "";
  const std::string target = found[1];
  if (target.starts_with("kvsharer/")) return "";
  if (!std::filesystem::exists(root / target)) return target + " is no path from the driver's root";
  if (level(target.substr(0, target.find('/'))) > level(folder)) return target + " lies above " + folder;
  return "";
}

}  // namespace

TEST_CASE("the driver's folders include downwards only") {
  const std::filesystem::path root = std::filesystem::path(KVSHARER_SOURCE_DIR) / "examples/mini_llama";
  std::array<int, order.size()> files{};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    const std::string kind = entry.path().extension().string();
    if (kind != ".hpp" && kind != ".cpp" && kind != ".cuh" && kind != ".cu") continue;
    const auto path = entry.path().lexically_relative(root);
    const std::string folder = path.begin()->string();
    if (folder != "main.cpp") {
      REQUIRE_MESSAGE(level(folder) < static_cast<std::ptrdiff_t>(order.size()), path.string());
      ++files[static_cast<std::size_t>(level(folder))];
    }
    std::ifstream text(entry.path());
    for (std::string line; std::getline(text, line);)
      if (const std::string wrong = fault(root, folder, line); !wrong.empty())
        FAIL_CHECK(path.string() << " has " << line << ": " << wrong);
  }
  for (const int count : files) CHECK(count > 0);
}

TEST_CASE("an include that runs up is found") {
  const std::filesystem::path root = std::filesystem::path(KVSHARER_SOURCE_DIR) / "examples/mini_llama";
  CHECK(fault(root, "sweep", "#include \"commands/commands.hpp\"") == "commands/commands.hpp lies above sweep");
  CHECK(fault(root, "commands", "#include \"sweep/sweep.hpp\"") == "");
  CHECK(fault(root, "sweep", "#include \"sweep.hpp\"") == "sweep.hpp is no path from the driver's root");
}

TEST_CASE("output that nobody checks, and a question that a flag answers, are found") {
  const std::filesystem::path root = std::filesystem::path(KVSHARER_SOURCE_DIR) / "examples/mini_llama";
  for (const std::string line : {"  std::printf(\"%d\", x);", "std::cout << x;", "  std::fputs(text, stdout);"})
    CHECK(fault(root, "commands", line) == "write_out and print_out see whether it arrives");
  CHECK(fault(root, "commands", "std::fprintf(stderr, text);") == "");
  CHECK(fault(root, "run", "if (std::isnan(x)) return;") ==
        "-ffast-math answers it; kvsharer/core/finite.hpp asks the bits");
}
