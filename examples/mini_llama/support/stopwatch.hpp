// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace mini_llama {

/// Runs from when it is made.
class stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(clock::now() - start_).count(); }

 private:
  using clock = std::chrono::steady_clock;
  clock::time_point start_ = clock::now();
};

}  // namespace mini_llama
