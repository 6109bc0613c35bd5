// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "golden/golden.hpp"
#include "mini_llama/program.hpp"
#include "mini_llama/scratch_directory.hpp"

/// What tests of the program's commands share.
namespace program_cases {

using arguments = std::vector<std::string>;

inline const std::string model = golden::model_directory();
inline const std::string calibration = KVSHARER_SOURCE_DIR "/examples/mini_llama/calibration/encyclopaedia.txt";

inline arguments with(arguments a, const arguments& more) {
  a.insert(a.end(), more.begin(), more.end());
  return a;
}

/// The command ends with `code` and says `words` on stderr alone.
inline void refused(const arguments& a, int code, const std::vector<std::string>& words) {
  const program_run r = run_program(a);
  CAPTURE(r.err);
  CHECK(r.exit_code == code);
  CHECK(r.out.empty());
  for (const std::string& w : words) CHECK_MESSAGE(has(r.err, w), w);
}

}  // namespace program_cases
