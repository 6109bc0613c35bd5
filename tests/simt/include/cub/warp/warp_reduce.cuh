// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstring>
#include <type_traits>

/// CUB's reduction of a warp, as far as the mini-Llama driver uses it: of 32 lanes, in CUB's order, for lane 0 alone.
/// CUB leaves something in the other lanes that nobody may use; here it is all ones, NaN where it is a float.
namespace cub {

template <class T, int LogicalWarpThreads = 32>
class WarpReduce {
  static_assert(LogicalWarpThreads == 32 && std::is_trivially_copyable_v<T>);

 public:
  struct TempStorage {};
  explicit WarpReduce(TempStorage&) {}

  template <class Operator>
  T Reduce(T mine, Operator join) {
    for (unsigned step = 1; step < 32; step *= 2) {
      const T other = __shfl_down_sync(0xffffffffu, mine, step);
      if (simt::lane() + step < 32) mine = join(mine, other);
    }
    if (simt::lane() != 0) std::memset(static_cast<void*>(&mine), 0xff, sizeof(T));
    return mine;
  }
};

}  // namespace cub
