// SPDX-License-Identifier: Apache-2.0
#include "support/progress.hpp"

#include <unistd.h>

#include <cstdio>
#include <utility>

namespace mini_llama {

progress::progress(std::string what, std::size_t total, bool enabled)
    : what_(std::move(what)), total_(total), enabled_(enabled), terminal_(isatty(STDERR_FILENO) != 0) {}

progress::~progress() {
  if (shown_ && terminal_) std::fputs("\r\x1b[K", stderr);
}

void progress::update(std::size_t done, const std::string& note) {
  if (!enabled_ || total_ == 0) return;
  const auto now = std::chrono::steady_clock::now();
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double left = done ? elapsed / static_cast<double>(done) * static_cast<double>(total_ - done) : 0;
  const auto print = [&](const char* begin, const char* end) {
    std::fprintf(stderr, "%s%s: %zu of %zu, %.0f s left%s%s%s", begin, what_.c_str(), done, total_, left,
                 note.empty() ? "" : ", ", note.c_str(), end);
    std::fflush(stderr);
    shown_ = true;
  };
  if (terminal_) {
    if (done < total_ && now - shown_at_ < std::chrono::milliseconds(100)) return;
    shown_at_ = now;
    print("\r\x1b[K", "");
  } else if (const std::size_t tenth = done * 10 / total_; tenth > last_tenth_ && elapsed > 2) {
    last_tenth_ = tenth;
    print("", "\n");
  }
}

}  // namespace mini_llama
