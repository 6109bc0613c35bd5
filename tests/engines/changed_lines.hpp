// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

inline std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + " cannot be read");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

/// Lines of `after` that are not in `before` in the same order: what was changed or added, as `diff` would have it.
inline std::size_t changed_lines(const std::string& before, const std::string& after) {
  const std::vector<std::string> a = lines_of(before), b = lines_of(after);
  std::vector<std::size_t> kept(b.size() + 1);  // of the longest common part with a's first lines
  for (const std::string& line : a) {
    std::size_t diagonal = 0;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t above = kept[j + 1];
      kept[j + 1] = line == b[j] ? diagonal + 1 : std::max(above, kept[j]);
      diagonal = above;
    }
  }
  return b.size() - kept.back();
}
