// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nvtx3/nvToolsExt.h>

namespace kvsharer::inline v0 {

/// A TraceRange of NVTX, for Nsight Systems: traced_cache<shared_cache<>, nvtx_range>. No other header of the library
/// includes this one. It needs the CUDA toolkit's nvtx3 in the include path, and with glibc before 2.34 a program
/// linked with libdl.
class nvtx_range {
 public:
  /// Opens a range on the calling thread. The same thread must end it.
  explicit nvtx_range(const char* name) { nvtxRangePushA(name); }
  nvtx_range(const nvtx_range&) = delete;
  nvtx_range& operator=(const nvtx_range&) = delete;
  ~nvtx_range() { nvtxRangePop(); }
};

}  // namespace kvsharer::inline v0
