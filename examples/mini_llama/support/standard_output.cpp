// SPDX-License-Identifier: Apache-2.0
#include "support/standard_output.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <string>

#include "support/load_error.hpp"

namespace mini_llama {

void prepare_output() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  // Open gets the lowest number that is free. What was opened for reading cannot be written.
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream)
    if (::fcntl(stream, F_GETFD) < 0 && ::open("/dev/null", O_RDONLY) != stream)
      throw load_error("/dev/null cannot be opened in place of a closed stream");
}

void write_out(std::string_view text) {
  errno = 0;
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (written && std::fflush(stdout) == 0) return;
  throw load_error(std::string("standard output cannot be written (") + std::strerror(errno) +
                   "). Check that its file or terminal is there and has space");
}

void print_out(const char* form, ...) {
  std::va_list arguments, again;
  va_start(arguments, form);
  va_copy(again, arguments);
  std::string text(static_cast<std::size_t>(std::vsnprintf(nullptr, 0, form, arguments)), '\0');
  std::vsnprintf(text.data(), text.size() + 1, form, again);
  va_end(again);
  va_end(arguments);
  write_out(text);
}

}  // namespace mini_llama
