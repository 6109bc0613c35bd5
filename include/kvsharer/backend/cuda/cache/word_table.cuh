// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda::detail {

/// Words to change, as a launch argument: at most 4 KB, copied at the launch, so that the host need not wait before it
/// prepares the next launch.
struct word_changes {
  static constexpr int capacity = 480;
  struct change {
    std::int32_t at, value;
  };
  std::int32_t count = 0;
  change changes[capacity];
};

template <int = 0>  // a template, so that every file may include it
KVSHARER_HIDDEN __global__ void __launch_bounds__(word_changes::capacity)
    change_words(const __grid_constant__ word_changes list, std::int32_t* words) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < list.count) words[list.changes[i].at] = list.changes[i].value;
}

/// 32-bit words in device memory that the host writes, in stream order: block tables and lengths. If a word changes
/// twice between two flushes, the later value counts.
template <MemoryResource R>
class word_table {
 public:
  word_table(stream_ref stream, std::size_t words, R resource)
      : words_(stream, words, std::move(resource)), pending_at_(words) {
    if (words > 0)
      check(cudaMemsetAsync(words_.data(), 0, words_.bytes(), stream.get()), "the clearing of the block tables");
  }

  const std::int32_t* data() const noexcept { return words_.data(); }
  std::int32_t* data() noexcept { return words_.data(); }
  std::size_t bytes() const noexcept { return words_.bytes(); }

  void set(index_t at, index_t value) {
    // Two changes of one word in one launch would race: overwrite a pending one. The noted index may be stale.
    const std::int32_t known = pending_at_[static_cast<std::size_t>(at)];
    if (known < pending_.count && pending_.changes[known].at == at) {
      pending_.changes[known].value = static_cast<std::int32_t>(value);
      return;
    }
    if (pending_.count == word_changes::capacity) flush();
    pending_at_[static_cast<std::size_t>(at)] = pending_.count;
    pending_.changes[pending_.count++] = {static_cast<std::int32_t>(at), static_cast<std::int32_t>(value)};
  }

  /// Launches the pending changes on the stream.
  void flush() {
    if (pending_.count == 0) return;
    launch("the update of block tables", words_.stream(), {dim3(1), word_changes::capacity}, change_words<>, pending_,
           words_.data());
    pending_.count = 0;
  }

  /// words[to, to + count) = words[from, from + count), after all earlier changes.
  void copy(index_t from, index_t to, index_t count) {
    flush();
    if (count > 0)
      check(cudaMemcpyAsync(words_.data() + to, words_.data() + from, static_cast<std::size_t>(count) * sizeof(*data()),
                            cudaMemcpyDeviceToDevice, words_.stream().get()),
            "the copy of a block table");
  }

 private:
  device_buffer<std::int32_t, R> words_;
  word_changes pending_;
  std::vector<std::int32_t> pending_at_;  // [word]: index in pending_ of its last change
};

}  // namespace kvsharer::inline v0::cuda::detail
