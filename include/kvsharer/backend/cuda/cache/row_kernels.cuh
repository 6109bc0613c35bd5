// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kvsharer/backend/cuda/batch.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/page_strides.hpp"

/// Copies of whole rows inside a cache's pools, and between them and memory that the host reads.
namespace kvsharer::inline v0::cuda::detail {

/// The planes of a page number, at equal distances: all owners' keys, then all owners' values, or one plane.
template <class E>
struct pool_planes {
  E* first;
  index_t count;
  index_t distance;  // elements from plane to plane

  KVSHARER_HD E* plane(index_t i) const noexcept { return first + i * distance; }
};

/// Copies head_dim numbers, 16 bytes at a time; both ends at multiples of 16 bytes.
template <class E>
__device__ void copy_row(const E* from, E* to, index_t head_dim, index_t piece) {
  constexpr index_t count = 16 / sizeof(E);
  if (piece * count < head_dim)
    *reinterpret_cast<uint4*>(to + piece * count) = *reinterpret_cast<const uint4*>(from + piece * count);
}

/// Copies the first `tokens` tokens of a page to another page, in all planes. Grid: (tokens, planes); threads go over
/// heads and pieces of rows.
template <class E>
KVSHARER_HIDDEN __global__ void __launch_bounds__(128)
    copy_page_kernel(pool_planes<E> pools, cache_shape shape, layout::page_index index, std::int32_t from,
                     std::int32_t to) {
  const index_t source = index_t{from} * index.page, target = index_t{to} * index.page;
  E* const plane = pools.plane(blockIdx.y);
  const index_t token = blockIdx.x, pieces = shape.head_dim * static_cast<index_t>(sizeof(E)) / 16;
  for (index_t i = threadIdx.x; i < shape.kv_heads * pieces; i += blockDim.x) {
    const index_t head = i / pieces;
    const index_t in_page = head * index.head + token * index.token;
    copy_row(plane + source + in_page, plane + target + in_page, shape.head_dim, i % pieces);
  }
}

/// Slots whose tokens move, as a launch argument (at most 4 KB): the token in from[i] moves to slot `first` + i.
struct slot_list {
  static constexpr int capacity = 900;
  std::int32_t first = 0;
  std::int32_t count = 0;
  std::int32_t from[capacity];
};

/// Moves tokens of one sequence to lower slots, in all planes. Sources ascend and none lies below its target, so a
/// block may work in place: it goes through them in order and reads as many as it holds before it writes them. Grid:
/// (heads, planes).
template <class E>
KVSHARER_HIDDEN __global__ void __launch_bounds__(256)
    move_tokens_kernel(pool_planes<E> pools, cache_shape shape, layout::page_index index,
                       const __grid_constant__ slot_list list) {
  E* const plane = pools.plane(blockIdx.y);
  const index_t head = blockIdx.x, threads = blockDim.x, thread = threadIdx.x;
  const index_t pieces = shape.head_dim * static_cast<index_t>(sizeof(E)) / 16;
  const index_t at_once = pieces < threads ? threads / pieces : 1;
  for (index_t base = 0; base < list.count; base += at_once)
    for (index_t before = 0; before < pieces; before += threads) {
      const index_t i = base + thread / pieces, piece = before + thread % pieces;
      const bool mine = thread / pieces < at_once && i < list.count && piece < pieces;
      uint4 x{};
      if (mine) x = reinterpret_cast<const uint4*>(plane + index.offset(head, list.from[i], 0))[piece];
      __syncthreads();
      if (mine) reinterpret_cast<uint4*>(plane + index.offset(head, list.first + i, 0))[piece] = x;
      __syncthreads();
    }
}

/// Copies one sequence's rows from the pools to `rows` [plane][token][kv_head][channel], or back. Where a head's list
/// is shorter, the entries of `rows` stay as they are. Grid: (tokens of the longest list, planes).
template <bool ToPools, class E>
KVSHARER_HIDDEN __global__ void __launch_bounds__(128)
    move_rows_kernel(pool_planes<E> pools, cache_shape shape, layout::page_index index, list_counts lists, E* rows) {
  E* const plane = pools.plane(blockIdx.y);
  const index_t token = blockIdx.x, tokens = gridDim.x, pieces = shape.head_dim * static_cast<index_t>(sizeof(E)) / 16;
  E* const outside = rows + (index_t{blockIdx.y} * tokens + token) * shape.kv_heads * shape.head_dim;
  for (index_t i = threadIdx.x; i < shape.kv_heads * pieces; i += blockDim.x) {
    const index_t head = i / pieces;
    if (token >= lists.of(0, head)) continue;
    E* const inside = plane + index.offset(head, token, 0);
    if constexpr (ToPools)
      copy_row(outside + head * shape.head_dim, inside, shape.head_dim, i % pieces);
    else
      copy_row(inside, outside + head * shape.head_dim, shape.head_dim, i % pieces);
  }
}

}  // namespace kvsharer::inline v0::cuda::detail
