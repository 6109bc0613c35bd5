// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace mini_llama {

/// How far long work is, on stderr: one line rewritten in place on a terminal, a line every tenth of the work
/// elsewhere. Silent when `enabled` is false. (No progress-bar library is packaged by the distributions the bootstrap
/// serves.)
class progress {
 public:
  progress(std::string what, std::size_t total, bool enabled);
  ~progress();
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;

  /// `done` of the total is done; `note` is shown behind it.
  void update(std::size_t done, const std::string& note = {});

 private:
  std::string what_;
  std::size_t total_;
  bool enabled_;
  bool terminal_;
  bool shown_ = false;
  std::size_t last_tenth_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point shown_at_{};
};

}  // namespace mini_llama
