// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kvsharer/backend/cuda/pool_view.cuh"
#include "kvsharer/config.hpp"
#include "kvsharer/core/types.hpp"

/// Copies of whole rows inside a cache's pools, and between them and memory that the host reads.
namespace kvsharer::inline v0::cuda::detail {

/// The planes of both pools, counted through: all owners' keys, then all owners' values.
template <class E>
struct pool_pair {
  E* keys;    // [owner of keys][page][page_elements]
  E* values;  // [owner of values][page][page_elements]
  index_t key_planes;
  index_t plane_elements;

  KVSHARER_HD E* plane(index_t i) const noexcept {
    return i < key_planes ? keys + i * plane_elements : values + (i - key_planes) * plane_elements;
  }
};

/// head_dim numbers, 16 bytes at a time; both ends at multiples of 16 bytes.
template <class E>
__device__ void copy_row(const E* from, E* to, index_t head_dim, index_t piece) {
  constexpr index_t count = 16 / sizeof(E);
  if (piece * count < head_dim)
    *reinterpret_cast<uint4*>(to + piece * count) = *reinterpret_cast<const uint4*>(from + piece * count);
}

/// The first `tokens` tokens of a page into another, in all planes. Grid: (tokens, planes); threads go over heads and
/// pieces of rows.
template <class E, class Layout>
KVSHARER_HIDDEN __global__ void __launch_bounds__(128)
    copy_page_kernel(pool_pair<E> pools, cache_shape shape, Layout layout, std::int32_t from, std::int32_t to) {
  const auto source = layout.index(shape, &from), target = layout.index(shape, &to);
  E* const plane = pools.plane(blockIdx.y);
  const index_t token = blockIdx.x, pieces = shape.head_dim * static_cast<index_t>(sizeof(E)) / 16;
  for (index_t i = threadIdx.x; i < shape.kv_heads * pieces; i += blockDim.x) {
    const index_t head = i / pieces;
    copy_row(plane + source.offset(head, token, 0), plane + target.offset(head, token, 0), shape.head_dim, i % pieces);
  }
}

/// One sequence's rows from the pools to `rows` [plane][token][kv_head][channel], or back. Grid: (tokens, planes).
template <bool ToPools, class E, class Layout>
KVSHARER_HIDDEN __global__ void __launch_bounds__(128)
    move_rows_kernel(pool_pair<E> pools, cache_shape shape, Layout layout, const std::int32_t* table, E* rows) {
  const auto index = layout.index(shape, table);
  E* const plane = pools.plane(blockIdx.y);
  const index_t token = blockIdx.x, tokens = gridDim.x, pieces = shape.head_dim * static_cast<index_t>(sizeof(E)) / 16;
  E* const outside = rows + (index_t{blockIdx.y} * tokens + token) * shape.kv_heads * shape.head_dim;
  for (index_t i = threadIdx.x; i < shape.kv_heads * pieces; i += blockDim.x) {
    const index_t head = i / pieces;
    E* const inside = plane + index.offset(head, token, 0);
    if constexpr (ToPools)
      copy_row(outside + head * shape.head_dim, inside, shape.head_dim, i % pieces);
    else
      copy_row(inside, outside + head * shape.head_dim, shape.head_dim, i % pieces);
  }
}

}  // namespace kvsharer::inline v0::cuda::detail
