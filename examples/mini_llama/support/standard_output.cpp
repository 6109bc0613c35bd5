// SPDX-License-Identifier: Apache-2.0
#include "support/standard_output.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "support/load_error.hpp"

namespace mini_llama {

void write_out(std::string_view text) {
  errno = 0;
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (written && std::fflush(stdout) == 0) return;
  throw load_error(std::string("standard output cannot be written (") + std::strerror(errno) +
                   "). Check that its file or terminal is there and has space");
}

}  // namespace mini_llama
