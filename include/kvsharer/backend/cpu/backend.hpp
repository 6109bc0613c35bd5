// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cpu {

/// The host backend. It has no state: OpenMP provides the threads, the caller the memory.
struct backend {
  /// Caches in host memory.
  template <memory_space S>
  static constexpr bool can_read = S == memory_space::host;
};

}  // namespace kvsharer::inline v0::cpu
