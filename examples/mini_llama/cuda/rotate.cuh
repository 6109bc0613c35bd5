// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string>

#include "cuda/batch_rows.cuh"
#include "cuda/chunk.cuh"
#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/rope.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/rope.hpp"
#include "kvsharer/core/types.hpp"

/// Rotary positions on the device, in the half-split pairing.
namespace mini_llama::cuda {

/// The angles of positions [0, positions) in device memory, copied from rope_table, with its scaling applied.
class device_rope {
 public:
  /// Synchronises: for set-up. Throws kvsharer::error (device_memory, cuda_call).
  device_rope(kvsharer::cuda::stream_ref stream, const kvsharer::rope_rule& rope, kvsharer::index_t head_dim,
              kvsharer::index_t positions)
      : table_(stream, static_cast<std::size_t>(positions * head_dim)), angles_{table_.data(), positions} {
    const kvsharer::rope_table on_host(rope, head_dim, positions);
    kvsharer::cuda::check(
        cudaMemcpyAsync(table_.data(), on_host.numbers().data(), table_.bytes(), cudaMemcpyHostToDevice, stream.get()),
        "cudaMemcpyAsync");
    stream.synchronize();
  }

  kvsharer::cuda::rope_angles angles() const noexcept { return angles_; }
  std::size_t bytes() const noexcept { return table_.bytes(); }

 private:
  kvsharer::cuda::device_buffer<float> table_;
  kvsharer::cuda::rope_angles angles_;
};

/// Heads of rows, possibly with other numbers between the rows, as for queries in the result of a product that also
/// projects keys and values.
template <class E>
struct head_rows {
  E* data = nullptr;             // [rows][stride]; the first heads * head_dim numbers of each row are heads
  kvsharer::index_t stride = 0;  ///< a multiple of a chunk
};

namespace detail {

inline constexpr unsigned rotate_threads = 256;

/// Grid: rows.
template <class E>
KVSHARER_HIDDEN __global__ void __launch_bounds__(rotate_threads)
    rotate_kernel(kvsharer::cuda::rope_angles rope, kvsharer::cuda::ragged_batch batch, int heads, int head_dim,
                  head_rows<const E> in, head_rows<E> out, kvsharer::cuda::status_word* status) {
  kvsharer::cuda::ptx::let_next_begin();
  kvsharer::cuda::ptx::wait_for_previous();
  const kvsharer::index_t row = blockIdx.x;
  const batch_row at = find_batch_row(batch, row);
  if (at.position >= rope.positions && threadIdx.x == 0)
    kvsharer::cuda::report(status, kvsharer::cuda::refusal::past_capacity, -1, at.sequence, at.position);
  const bool turns = at.position >= 0 && at.position < rope.positions;
  const int half = head_dim / 2, chunks = half / chunk_size<E>;
  for (int i = static_cast<int>(threadIdx.x); i < heads * chunks; i += static_cast<int>(blockDim.x)) {
    const int channel = i % chunks * chunk_size<E>, low_at = i / chunks * head_dim + channel;
    numbers<E> low{}, high{};
    if (turns) {
      low = numbers<E>::load(in.data + row * in.stride + low_at);
      high = numbers<E>::load(in.data + row * in.stride + low_at + half);
      kvsharer::cuda::rotate_halves(rope, at.position, half, channel, low, high);
    }
    low.store(out.data + row * out.stride + low_at);
    high.store(out.data + row * out.stride + low_at + half);
  }
}

}  // namespace detail

/// Rotates every row's heads by the position of the row's token, which is length - rows + its number among the
/// sequence's rows; `out` may be `in`. Writes zeros for padding rows, for rows before the first token, and for
/// positions that the table lacks, which are reported (refusal::past_capacity). Stream-ordered: neither allocates nor
/// synchronises, and may be captured. Throws kvsharer::error (bad_shape, bad_argument, cuda_call).
template <kvsharer::CacheElement E>
void rotate(const kvsharer::cuda::backend& on, const kvsharer::cuda::rope_angles& rope,
            const kvsharer::cuda::ragged_batch& batch, kvsharer::index_t heads, kvsharer::index_t head_dim,
            head_rows<const E> in, head_rows<E> out) {
  require_chunks<E>(head_dim / 2, "half a head");
  const kvsharer::index_t strides[] = {in.stride, out.stride};  // nvcc 13.0 needs a named array
  for (const kvsharer::index_t stride : strides) {
    require_chunks<E>(stride, "a row of heads");
    if (stride < heads * head_dim)
      throw kvsharer::error(kvsharer::errc::bad_shape, "a row of " + std::to_string(stride) + " numbers cannot hold " +
                                                           std::to_string(heads) + " heads of " +
                                                           std::to_string(head_dim));
  }
  require_aligned(in.data, "heads");
  require_aligned(out.data, "turned heads");
  if (batch.rows == 0) return;
  const kvsharer::index_t work = heads * (head_dim / 2 / chunk_size<E>);
  kvsharer::cuda::detail::launch("the rotation", on.stream,
                                 {dim3(static_cast<unsigned>(batch.rows)), block_threads(work, detail::rotate_threads),
                                  0, kvsharer::cuda::detail::order::overlaps},
                                 detail::rotate_kernel<E>, rope, batch, static_cast<int>(heads),
                                 static_cast<int>(head_dim), in, out, on.status);
}

/// The same in place, for rows [rows][heads * head_dim].
template <kvsharer::CacheElement E>
void rotate(const kvsharer::cuda::backend& on, const kvsharer::cuda::rope_angles& rope,
            const kvsharer::cuda::ragged_batch& batch, kvsharer::index_t heads, kvsharer::index_t head_dim, E* rows) {
  const kvsharer::index_t width = heads * head_dim;
  rotate(on, rope, batch, heads, head_dim, head_rows<const E>{rows, width}, head_rows<E>{rows, width});
}

}  // namespace mini_llama::cuda
