// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace kvsharer::inline v0 {

/// Which half of a layer's cache is meant.
enum class kv_part : std::uint8_t {
  both,    ///< keys and values together
  keys,    ///< the keys alone
  values,  ///< the values alone
};

}  // namespace kvsharer::inline v0
