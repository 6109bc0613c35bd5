// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/load_error.hpp"

namespace mini_llama {

/// A file of one JSON object a line that only grows, and survives being killed: a line is on the disk when append()
/// returns, and the rest of one that was being written is cut off when the file is opened again.
class results_file {
 public:
  /// Opens or makes the file, and keeps other processes from doing the same until it is closed. Throws load_error when
  /// it cannot be written, when another process has it open, and for a line that is damaged and not the last.
  explicit results_file(const std::filesystem::path& file);
  results_file(const results_file&) = delete;
  results_file& operator=(const results_file&) = delete;
  ~results_file();

  /// What it held when it was opened, and what was appended since.
  const std::vector<nlohmann::json>& lines() const noexcept { return lines_; }

  /// Throws load_error, as when the disk is full; the file then holds what it held, and perhaps a part of a line.
  void append(const nlohmann::ordered_json& line);

 private:
  [[noreturn]] void fail(const std::string& what) const;
  void read();

  std::filesystem::path file_;
  int descriptor_ = -1;
  std::vector<nlohmann::json> lines_;
};

/// The whole lines of such a text; `kept` gets the bytes they take, which a torn last line is not part of. Throws
/// load_error naming `file` for a damaged line before the last.
std::vector<nlohmann::json> whole_lines(const std::string& text, const std::filesystem::path& file, std::size_t& kept);

}  // namespace mini_llama
