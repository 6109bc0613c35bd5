// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "mini_llama/scratch_directory.hpp"

/// What a run of the mini_llama program left.
struct program_run {
  int exit_code;  ///< -1 after a signal
  std::string out, err;
};

inline std::string slurp(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// Runs a program as a shell would, each argument quoted.
inline program_run run_command(const std::string& program, const std::vector<std::string>& arguments) {
  const scratch_directory streams;
  std::string command = "'" + program + "'";
  for (const std::string& a : arguments) {
    command += " '";
    for (char c : a) command += c == '\'' ? std::string("'\\''") : std::string(1, c);
    command += "'";
  }
  const std::filesystem::path out = streams.path() / "out", err = streams.path() / "err";
  const int status = std::system((command + " >" + out.string() + " 2>" + err.string() + " </dev/null").c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, slurp(out), slurp(err)};
}

inline program_run run_program(const std::vector<std::string>& arguments) {
  return run_command(MINI_LLAMA_PROGRAM, arguments);
}
