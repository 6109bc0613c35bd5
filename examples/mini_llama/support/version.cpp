// SPDX-License-Identifier: Apache-2.0
#include "support/version.hpp"

#include "kvsharer/version.hpp"

namespace mini_llama {

std::string version_text() {
  return "mini_llama, kvsharer " + std::to_string(KVSHARER_VERSION_MAJOR) + "." +
         std::to_string(KVSHARER_VERSION_MINOR) + "." + std::to_string(KVSHARER_VERSION_PATCH);
}

}  // namespace mini_llama
