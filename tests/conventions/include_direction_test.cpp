// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "conventions/header_rules.hpp"

using namespace conventions;

namespace {

headers library() {
  const std::filesystem::path root = std::filesystem::path(KVSHARER_SOURCE_DIR) / "include";
  headers all;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path());
    all[entry.path().lexically_relative(root).generic_string()] = {std::istreambuf_iterator<char>(in), {}};
  }
  return all;
}

const std::string head = "// SPDX-License-Identifier: Apache-2.0\n#pragma once\n";

/// A small library without fault, with one header more or one header changed.
headers with(const std::string& path, const std::string& text) {
  headers all{
      {"kvsharer/config.hpp", head + "#if defined(__CUDACC__)\n#endif\n"},
      {"kvsharer/core/types.hpp", head + "#include <cstdint>\n"},
      {"kvsharer/concepts/layouts.hpp", head + "#include \"kvsharer/core/types.hpp\"\n"},
      {"kvsharer/layout/paged.hpp", head + "#include \"kvsharer/concepts/layouts.hpp\"\n"},
      {"kvsharer/metric/cosine.hpp", head + "#include \"kvsharer/concepts/layouts.hpp\"\n"},
      {"kvsharer/runtime/detail/table.hpp", head},
      {"kvsharer/runtime/cache.hpp", head + "#include \"kvsharer/runtime/detail/table.hpp\"\n"},
      {"kvsharer/backend/cpu/product.hpp", head + "#include <Eigen/Core>\n"},
      {"kvsharer/kvsharer.hpp", head + "#include \"kvsharer/core/types.hpp\"\n"},
  };
  all[path] = text;
  return all;
}

/// The one violation of that library.
std::string fault(const std::string& path, const std::string& line) {
  const auto found = violations(with(path, head + line + "\n"));
  REQUIRE(found.size() == 1);
  REQUIRE(found[0].starts_with(path + ": "));
  return found[0].substr(path.size() + 2);
}

}  // namespace

TEST_CASE("the library's headers include downwards only, and decide nothing by the preprocessor") {
  const headers all = library();
  REQUIRE(all.size() > 40);
  for (const std::string& wrong : violations(all)) FAIL_CHECK(wrong);
}

TEST_CASE("an umbrella header holds all public headers of its rooms") {
  const headers all = library();
  for (const std::string& path : left_out(all, "kvsharer/kvsharer.hpp")) FAIL_CHECK("kvsharer.hpp leaves out ", path);
  CHECK(left_out(with("kvsharer/config.hpp", head), "kvsharer/kvsharer.hpp") ==
        std::vector<std::string>{"kvsharer/concepts/layouts.hpp", "kvsharer/layout/paged.hpp",
                                 "kvsharer/metric/cosine.hpp", "kvsharer/runtime/cache.hpp"});
}

TEST_CASE("every room and file that the rules name exists") {
  const headers all = library();
  std::set<std::string> rooms;
  for (const auto& [path, text] : all) rooms.insert(room(path));
  for (const auto& row : rooms_below) {
    CHECK_MESSAGE(rooms.contains(row.first), row.first);
    for (const std::string& below : row.second) {
      CHECK_MESSAGE(rooms_below.contains(below), below);
      CHECK_MESSAGE(!permits(rooms_below, below, row.first), row.first, " and ", below, " may know each other");
    }
  }
  for (const std::string& path : may_decide) CHECK_MESSAGE(all.contains(path), path);
}

TEST_CASE("the rules find what is forbidden") {
  REQUIRE(violations(with("kvsharer/core/more.hpp", head)).empty());

  SUBCASE("upwards") {
    CHECK(fault("kvsharer/core/up.hpp", "#include \"kvsharer/concepts/layouts.hpp\"") ==
          "includes kvsharer/concepts/layouts.hpp: core may not know concepts");
  }
  SUBCASE("a neighbour, however it is spaced") {
    CHECK(fault("kvsharer/metric/side.hpp", " #  include   \"kvsharer/layout/paged.hpp\"  // why") ==
          "includes kvsharer/layout/paged.hpp: metric may not know layout");
  }
  SUBCASE("an umbrella from inside") {
    CHECK(fault("kvsharer/runtime/all.hpp", "#include \"kvsharer/kvsharer.hpp\"") ==
          "includes kvsharer/kvsharer.hpp: runtime may not know kvsharer.hpp");
  }
  SUBCASE("a backend from the core library") {
    CHECK(fault("kvsharer/search/fast.hpp", "#include \"kvsharer/backend/cpu/product.hpp\"") ==
          "includes kvsharer/backend/cpu/product.hpp: search may not know backend/cpu");
  }
  SUBCASE("another room's private part") {
    CHECK(fault("kvsharer/kvsharer.hpp", "#include \"kvsharer/runtime/detail/table.hpp\"") ==
          "includes kvsharer/runtime/detail/table.hpp, which is private to its room");
  }
  SUBCASE("a path that is not written out") {
    CHECK(fault("kvsharer/core/near.hpp", "#include \"types.hpp\"") ==
          "includes \"types.hpp\", which is no full path of a header of the library");
  }
  SUBCASE("a third party in the wrong room") {
    CHECK(fault("kvsharer/layout/matrix.hpp", "#include <Eigen/Core>") ==
          "includes <Eigen/Core>, a third party that layout may not know");
    CHECK(fault("kvsharer/backend/cpu/all.hpp", "#include <Eigen/Dense>") ==
          "includes <Eigen/Dense>, a third party that backend/cpu may not know");
    CHECK(fault("kvsharer/core/os.hpp", "#include <unistd.h>") ==
          "includes <unistd.h>, a third party that core may not know");
  }
  SUBCASE("the preprocessor deciding") {
    for (const std::string line : {"#if defined(__AVX__)", "# ifdef NDEBUG", "  #ifndef GUARD", "#elif 1"})
      CHECK(fault("kvsharer/policy/by_flag.hpp", line) ==
            "decides by the preprocessor; only config.hpp and the like may");
  }
  SUBCASE("a question that a flag answers") {
    for (const std::string line : {"  if (std::isnan(x)) return;", "ok = std::isfinite(x);", "return !isinf(x);"})
      CHECK(fault("kvsharer/policy/by_flag.hpp", line) ==
            "asks the standard library whether a number is finite, which -ffast-math answers; core/finite.hpp asks the "
            "bits");
  }
  SUBCASE("a kernel that other shared objects see") {
    CHECK(fault("kvsharer/backend/cpu/kernel.cuh", "__global__ void twice(float* x);") ==
          "has a kernel that is neither KVSHARER_HIDDEN nor static; two shared objects would mix up theirs");
    CHECK(violations(with("kvsharer/core/kernel.hpp", head + "KVSHARER_HIDDEN __global__ void twice(float* x);\n"))
              .empty());
  }
  SUBCASE("a room without a place") {
    CHECK(fault("kvsharer/util/strings.hpp", "") == "lies in a room that has no place in the order");
  }
  SUBCASE("a header without its first lines") {
    const auto found = violations(with("kvsharer/core/bare.hpp", "#pragma once\n"));
    CHECK(found ==
          std::vector<std::string>{"kvsharer/core/bare.hpp: does not begin with its licence and #pragma once"});
  }
}
