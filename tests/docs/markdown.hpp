// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// Just enough Markdown to keep the pages true: fenced blocks, links and headings.
namespace docs {

using lines = std::vector<std::string>;

inline lines lines_of(const std::string& text) {
  lines all;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) all.push_back(line);
  return all;
}

inline std::string trimmed(std::string_view s) {
  const auto begin = s.find_first_not_of(" \t\r");
  return begin == s.npos ? "" : std::string(s.substr(begin, s.find_last_not_of(" \t\r") - begin + 1));
}

/// Without the indentation that all lines have in common, and without blank lines at the ends.
inline std::string dedented(lines block) {
  while (!block.empty() && trimmed(block.front()).empty()) block.erase(block.begin());
  while (!block.empty() && trimmed(block.back()).empty()) block.pop_back();
  std::size_t indent = std::string::npos;
  for (const std::string& line : block) indent = std::min(indent, line.find_first_not_of(' '));
  std::string text;
  for (const std::string& line : block) text += (trimmed(line).empty() ? "" : line.substr(indent)) + "\n";
  return text;
}

/// One ``` block of a page.
struct block {
  std::size_t fence;     ///< line of the opening fence, from 0
  std::size_t end;       ///< line of the closing fence, or the number of lines if there is none
  std::string language;  ///< the word behind the opening fence
  std::string text;
};

inline std::vector<block> blocks_of(const lines& page) {
  std::vector<block> blocks;
  for (std::size_t i = 0; i < page.size(); ++i) {
    if (trimmed(page[i]).rfind("```", 0) != 0) continue;
    block b{i, i + 1, trimmed(trimmed(page[i]).substr(3)), ""};
    while (b.end < page.size() && trimmed(page[b.end]) != "```") ++b.end;
    b.text = dedented({page.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                       page.begin() + static_cast<std::ptrdiff_t>(std::min(b.end, page.size()))});
    blocks.push_back(b);
    i = b.end;
  }
  return blocks;
}

/// The page with its blocks and `code` blanked out, so that what stands in them is not taken for links or headings.
inline lines prose_of(const std::string& text) {
  lines page = lines_of(text);
  for (const block& b : blocks_of(page))
    for (std::size_t i = b.fence; i <= b.end && i < page.size(); ++i) page[i].clear();
  for (std::string& line : page)
    for (auto tick = line.find('`'); tick != line.npos; tick = line.find('`', tick)) {
      const auto close = line.find('`', tick + 1);
      if (close == line.npos) break;
      line.erase(tick, close + 1 - tick);
    }
  return page;
}

/// The anchor under which a heading is reached: as GitHub makes it, for headings that differ.
inline std::string anchor_of(std::string_view heading) {
  std::string anchor;
  for (char c : heading) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isalnum(u) || c == '-' || c == '_') anchor += static_cast<char>(std::tolower(u));
    if (c == ' ') anchor += '-';
  }
  return anchor;
}

inline std::set<std::string> anchors_of(const std::string& text) {
  lines page = lines_of(text);
  for (const block& b : blocks_of(page))
    for (std::size_t i = b.fence; i <= b.end && i < page.size(); ++i) page[i].clear();
  std::set<std::string> anchors;
  for (const std::string& line : page)
    if (line.rfind("#", 0) == 0) anchors.insert(anchor_of(trimmed(line.substr(line.find_first_not_of('#')))));
  return anchors;
}

/// What stands in (...) behind every [...] of the prose.
inline std::vector<std::string> links_of(const std::string& text) {
  std::vector<std::string> links;
  for (const std::string& line : prose_of(text))
    for (auto at = line.find("]("); at != line.npos; at = line.find("](", at + 2))
      links.push_back(line.substr(at + 2, line.find(')', at) - at - 2));
  return links;
}

inline std::string read(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + file.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

/// README.md and every page of docs/, relative to the project's root, sorted.
inline std::vector<std::filesystem::path> pages(const std::filesystem::path& root) {
  std::vector<std::filesystem::path> found{"README.md"};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root / "docs"))
    if (entry.path().extension() == ".md") found.push_back(entry.path().lexically_relative(root));
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace docs
