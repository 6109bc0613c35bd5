// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/backend/cuda/launch.cuh"
#include "kvsharer/backend/cuda/numbers.cuh"
#include "kvsharer/backend/cuda/pool_view.cuh"
#include "kvsharer/backend/cuda/rope.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0::cuda {

/// New keys and values of a batch, [rows][kv_heads * channels] each; null: none to store. Rows begin at multiples of 16
/// bytes.
template <CacheElement In>
struct new_rows {
  const In* keys = nullptr;    ///< in device memory
  const In* values = nullptr;  ///< in device memory
  index_t stride = 0;          ///< elements from row to row; 0: rows are contiguous
};

namespace detail {

/// Writes numbers to their place, in accesses of up to 16 bytes where it is aligned to them. Single numbers cost the L2
/// a request each.
template <class In, class E>
__device__ void put(const numbers<In>& n, E* to) {
  constexpr int count = numbers<In>::count;
  struct alignas(count * sizeof(E) < 16 ? count * sizeof(E) : 16) piece {
    E x[count];
  } rounded;
#pragma unroll
  for (int j = 0; j < count; ++j) rounded.x[j] = ptx::from_float<E>(n.x[j]);
  if (reinterpret_cast<std::uintptr_t>(to) % alignof(piece) == 0) {
    *reinterpret_cast<piece*>(to) = rounded;
  } else {
#pragma unroll
    for (int j = 0; j < count; ++j) to[j] = rounded.x[j];
  }
}

/// Stores the batch's rows at their tokens. Grid: (rows of a sequence, sequences, pieces of a row by the block); a
/// thread takes numbers of one head that lie half a head apart.
template <class In, class E>
KVSHARER_HIDDEN __global__ void __launch_bounds__(128)
    store_kernel(const __grid_constant__ pool_batch<E> keys, const __grid_constant__ pool_batch<E> values,
                 list_counts lists, ragged_batch batch, new_rows<In> rows, rope_angles rope, status_word* status,
                 int layer) {
  using wide = numbers<In>;
  constexpr int count = wide::count;
  // The rows of a decode step are the newest of the launch that reads them. Those of a prefill may be settled for it,
  // and who writes settled rows must not let it begin.
  if (batch.max_rows == 1) ptx::let_next_begin();
  ptx::wait_for_previous();
  const cache_shape shape = keys.shape;
  const index_t b = blockIdx.y, r = blockIdx.x, own_rows = batch.rows_of(b);
  if (r >= own_rows) return;
  const index_t place = batch.place(b), position = batch.position(b, r);
  const index_t from = (batch.first_row(b) + r) * rows.stride, half = shape.head_dim / 2;
  const auto key_view = keys.sequence(place), value_view = values.sequence(place);
  const bool turned = rope.table != nullptr;
  const index_t pieces = half / count;
  if (const index_t i = static_cast<index_t>(blockIdx.z) * blockDim.x + threadIdx.x; i < shape.kv_heads * pieces) {
    const index_t head = i / pieces, c = i % pieces * count, at = from + head * shape.head_dim + c;
    const index_t token = lists.of(place, head) - own_rows + r;
    if (token < 0 || token >= shape.capacity || (turned && (position < 0 || position >= rope.positions))) {
      report(status, refusal::past_capacity, layer, b, token);
      return;
    }
    E* const key = key_view.find(head, token);
    E* const value = value_view.find(head, token);
    if (key == nullptr || value == nullptr) {  // one block table serves both
      report(status, refusal::page_out_of_range, layer, b, token);
      return;
    }
    wide low, high, low_value, high_value;  // all loads before the first store, so that they overlap
    if (rows.keys != nullptr) low = wide::load(rows.keys + at), high = wide::load(rows.keys + at + half);
    if (rows.values != nullptr)
      low_value = wide::load(rows.values + at), high_value = wide::load(rows.values + at + half);
    if (rows.keys != nullptr) {
      if (turned) rotate_halves(rope, position, half, c, low, high);
      put(low, key + c);
      put(high, key + c + half);
    }
    if (rows.values != nullptr) {
      put(low_value, value + c);
      put(high_value, value + c + half);
    }
  }
}

}  // namespace detail

/// Stores new keys and values of a ragged batch into an owner's planes, rounded to E: the newest rows_of(b) tokens of
/// each sequence. Null rows leave what is stored as it is. If `rope` is given, keys are rotated first, by the batch's
/// positions.
///
/// Stream-ordered and capturable. Refused rows (a block table that points outside, a token past the capacity or the
/// angles) are left out and reported in the status word. Throws errc::bad_shape for heads that cannot be cut into 16
/// bytes, errc::bad_argument for more than 65535 sequences, errc::cuda_call. O(rows x kv_heads x head_dim).
template <CacheElement In, CacheElement E>
void store(const backend& on, const pool_batch<E>& keys, const pool_batch<E>& values, const ragged_batch& batch,
           new_rows<In> rows, const rope_angles& rope = {}, layer_id layer = {-1}) {
  const cache_shape shape = keys.shape;
  if (shape.head_dim != values.shape.head_dim) {  // one launch for each
    if (rows.stride != 0)
      throw error(errc::bad_argument,
                  "keys of " + std::to_string(shape.head_dim) + " and values of " +
                      std::to_string(values.shape.head_dim) +
                      " channels have no stride in common; give rows that lie one behind the other, and a stride of 0");
    if (rows.keys != nullptr) store(on, keys, keys, batch, new_rows<In>{rows.keys, nullptr}, rope, layer);
    if (rows.values != nullptr) store(on, values, values, batch, new_rows<In>{nullptr, rows.values}, {}, layer);
    return;
  }
  if (shape.head_dim % (2 * numbers<In>::count) != 0)
    throw error(errc::bad_shape, "rows of heads of " + std::to_string(shape.head_dim) +
                                     " channels cannot be stored on the device; half a head must be a multiple of " +
                                     std::to_string(numbers<In>::count));
  if (batch.sequences < 0 || batch.sequences > 65535)
    throw error(errc::bad_argument, "a batch of " + std::to_string(batch.sequences) +
                                        " sequences cannot be stored at once; give at most 65535, and the others in a "
                                        "batch of their own");
  if (batch.sequences == 0 || batch.rows == 0 || (rows.keys == nullptr && rows.values == nullptr)) return;
  if (rows.stride == 0) rows.stride = shape.kv_heads * shape.head_dim;
  constexpr unsigned threads = 128;
  const index_t pieces = shape.kv_heads * (shape.head_dim / 2 / numbers<In>::count);
  const auto blocks = static_cast<unsigned>((pieces + threads - 1) / threads);
  detail::launch("the store of keys and values", on.stream,
                 {dim3(static_cast<unsigned>(batch.max_rows), static_cast<unsigned>(batch.sequences), blocks), threads,
                  0, detail::order::overlaps},
                 detail::store_kernel<In, E>, keys, values, counts_of(keys, batch), batch, rows, rope, on.status,
                 layer.value);
}

}  // namespace kvsharer::inline v0::cuda
