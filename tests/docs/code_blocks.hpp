// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "docs/markdown.hpp"

namespace docs {

/// The lines between `// [name]` and `// [/name]` (or `# [name]` in CMake files), dedented, without the marks of other
/// regions inside. Nothing if the region is missing, open or there twice.
inline std::optional<std::string> region_of(const std::string& source, const std::string& name) {
  const auto mark = [](const std::string& line) -> std::string {
    const std::string t = trimmed(line);
    for (const char* comment : {"// [", "# ["})
      if (t.rfind(comment, 0) == 0 && t.back() == ']') {
        const auto open = t.find('[') + 1;
        return t.substr(open, t.size() - open - 1);
      }
    return "";
  };
  lines inside;
  int opened = 0, closed = 0;
  for (const std::string& line : lines_of(source)) {
    const std::string m = mark(line);
    if (m == name) ++opened;
    if (m == "/" + name) ++closed;
    if (m.empty() && opened > closed) inside.push_back(line);
  }
  if (opened != 1 || closed != 1) return std::nullopt;
  return dedented(inside);
}

/// Where a block says that it is cut from: `<!-- code: path#region -->` on the line above its fence.
struct origin {
  std::string path, region;
};

inline std::optional<origin> origin_of(const lines& page, const block& b) {
  static constexpr std::string_view open = "<!-- code: ", close = " -->";
  if (b.fence == 0) return std::nullopt;
  const std::string line = trimmed(page[b.fence - 1]);
  if (line.rfind(open, 0) != 0 || line.size() < open.size() + close.size() ||
      line.substr(line.size() - close.size()) != close)
    return std::nullopt;
  const std::string target = line.substr(open.size(), line.size() - open.size() - close.size());
  const auto hash = target.find('#');
  if (hash == target.npos) return std::nullopt;
  return origin{target.substr(0, hash), target.substr(hash + 1)};
}

/// The text of a file that the tests compile, or nothing if it is not such a file.
using compiled_source = std::function<std::optional<std::string>(const std::string& path)>;

inline bool is_code(const block& b) { return b.language == "cpp" || b.language == "c" || b.language == "cmake"; }

/// What is wrong with the blocks of one page, one line each; empty if every block of code is what the tests compile.
inline std::vector<std::string> block_problems(const std::string& text, const compiled_source& source) {
  static const std::set<std::string> shown{"text", "console", "sh", "json", "python"};  // not code, and named so
  const lines page = lines_of(text);
  std::vector<std::string> problems;
  for (const block& b : blocks_of(page)) {
    const std::string where = "line " + std::to_string(b.fence + 1) + ": ";
    if (b.end == page.size()) problems.push_back(where + "the block is not closed");
    if (!is_code(b)) {
      if (!shown.contains(b.language)) problems.push_back(where + "a block of \"" + b.language + "\"; name a language");
      continue;
    }
    const auto from = origin_of(page, b);
    if (!from) {
      problems.push_back(where + "no <!-- code: path#region --> above the block");
      continue;
    }
    const auto file = source(from->path);
    const auto region = file ? region_of(*file, from->region) : std::nullopt;
    if (!file)
      problems.push_back(where + from->path + " is no file that the tests compile");
    else if (!region)
      problems.push_back(where + from->path + " has not just one region [" + from->region + "]");
    else if (*region != b.text)
      problems.push_back(where + "the block differs from [" + from->region + "] in " + from->path);
  }
  return problems;
}

/// The page with every block of code replaced by its region, where that exists.
inline std::string with_current_blocks(const std::string& text, const compiled_source& source) {
  const lines page = lines_of(text);
  std::string current;
  std::size_t next = 0;
  for (const block& b : blocks_of(page)) {
    for (; next <= b.fence; ++next) current += page[next] + "\n";
    const auto from = is_code(b) ? origin_of(page, b) : std::nullopt;
    const auto file = from ? source(from->path) : std::nullopt;
    const auto region = file ? region_of(*file, from->region) : std::nullopt;
    if (region) {
      current += *region;
      next = b.end;
    }
  }
  for (; next < page.size(); ++next) current += page[next] + "\n";
  return current;
}

}  // namespace docs
