// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kvsharer/backend/cuda/cache/word_table.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda::detail {

/// Grid: (blocks of lists, sequences). counts [place][lists].
template <int = 0>  // a template, so that every file may include it
KVSHARER_HIDDEN __global__ void __launch_bounds__(128)
    grow_lists_kernel(const __grid_constant__ word_changes grown, std::int32_t* counts, std::int32_t lists) {
  const auto list = static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  const word_changes::change sequence = grown.changes[blockIdx.y];
  if (list < lists) atomicAdd(counts + index_t{sequence.at} * lists + list, sequence.value);
}

/// Sequences that grow by as many tokens in each of their lists: one launch for up to 480 of them, instead of a changed
/// word for every list.
class list_growth {
 public:
  /// `counts` [place][lists] is in device memory.
  list_growth(stream_ref stream, std::int32_t* counts, index_t lists) noexcept
      : stream_(stream), counts_(counts), lists_(lists) {}

  void add(index_t place, index_t tokens) {
    if (grown_.count == word_changes::capacity) flush();
    grown_.changes[grown_.count++] = {static_cast<std::int32_t>(place), static_cast<std::int32_t>(tokens)};
  }
  /// Hands what was added to the stream.
  void flush() {
    if (grown_.count == 0) return;
    const auto blocks = static_cast<unsigned>((lists_ + 127) / 128);
    launch("the growth of lists", stream_, {dim3(blocks, static_cast<unsigned>(grown_.count)), 128},
           grow_lists_kernel<>, grown_, counts_, static_cast<std::int32_t>(lists_));
    grown_.count = 0;
  }

 private:
  stream_ref stream_;
  std::int32_t* counts_;
  index_t lists_;
  word_changes grown_;
};

}  // namespace kvsharer::inline v0::cuda::detail
