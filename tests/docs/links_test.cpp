// SPDX-License-Identifier: Apache-2.0
// Every relative link of the pages leads to a file that is there, and to a heading in it.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "docs/markdown.hpp"

namespace {

const std::filesystem::path root = KVSHARER_SOURCE_DIR;

/// Is `link`, written in `page`, a web address, or a file (and heading) that exists?
bool leads_somewhere(const std::filesystem::path& page, const std::string& link) {
  if (link.starts_with("https://") || link.starts_with("http://")) return true;
  const auto hash = link.find('#');
  const std::string path = link.substr(0, hash);
  const std::filesystem::path target = path.empty() ? page : page.parent_path() / path;
  if (!std::filesystem::exists(target)) return false;
  return hash == std::string::npos || docs::anchors_of(docs::read(target)).contains(link.substr(hash + 1));
}

}  // namespace

TEST_CASE("links lead somewhere") {
  int links = 0;
  for (const auto& page : docs::pages(root)) {
    CAPTURE(page.string());
    for (const std::string& link : docs::links_of(docs::read(root / page))) {
      CAPTURE(link);
      CHECK(leads_somewhere(root / page, link));
      ++links;
    }
  }
  CHECK(links > 20);
}

TEST_CASE("every page can be reached from the index") {
  const auto index = docs::links_of(docs::read(root / "docs/README.md"));
  for (const auto& page : docs::pages(root)) {
    if (page == "README.md" || page == "docs/README.md") continue;
    CAPTURE(page.string());
    const std::string link = page.lexically_relative("docs").string();
    const bool listed = std::find(index.begin(), index.end(), link) != index.end();
    CHECK(listed);
  }
}

TEST_CASE("links and anchors are found, and only those") {
  using strings = std::vector<std::string>;
  CHECK(docs::links_of("[a](b.md) and [c](d#e)\n`[x](y)`\n```text\n[x](y)\n```\n[f][g]\n") == strings{"b.md", "d#e"});
  CHECK(docs::anchors_of("# A page\n## E301 `bad_map`: no, really\n```text\n# not this\n```\n") ==
        std::set<std::string>{"a-page", "e301-bad_map-no-really"});
  const auto page = root / "docs/README.md";
  CHECK(leads_somewhere(page, "troubleshooting.md"));
  CHECK(!leads_somewhere(page, "no_such_page.md"));
  CHECK(!leads_somewhere(page, "troubleshooting.md#no-such-heading"));
}
