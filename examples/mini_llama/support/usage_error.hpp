// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>

namespace mini_llama {

/// The command line asks for something that cannot be: exit code 2, where other failures end with 1.
class usage_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace mini_llama
