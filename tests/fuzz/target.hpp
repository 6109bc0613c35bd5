// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "mini_llama/scratch_directory.hpp"

/// What fuzz targets share. A target gives bytes to a parser, lets pass the errors that the parser is to answer with,
/// and checks what it promises of what it accepts. Anything else that is thrown ends the program.
namespace fuzz {

inline std::string_view text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Ends the program where a promise is broken.
inline void promise(bool kept, const char* what) {
  if (kept) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

/// One folder per process.
inline const scratch_directory& folder() {
  static const scratch_directory one;
  return one;
}

}  // namespace fuzz
