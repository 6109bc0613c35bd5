// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <istream>
#include <memory>
#include <ostream>

#include "kvsharer/backend/cuda/shared_cache.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/core/types.hpp"
#include "kvsharer/runtime/cache_stream.hpp"
#include "kvsharer/runtime/sequence_id.hpp"

namespace kvsharer::inline v0::cuda {
namespace detail {

/// Host memory that the device accesses without staging.
template <class E>
class pinned_rows {
 public:
  explicit pinned_rows(std::size_t numbers) {
    if (numbers > 0) check(cudaMallocHost(reinterpret_cast<void**>(&data_), numbers * sizeof(E)), "cudaMallocHost");
  }
  pinned_rows(const pinned_rows&) = delete;
  ~pinned_rows() { cudaFreeHost(data_); }
  E* data() const noexcept { return data_; }

 private:
  E* data_ = nullptr;
};

/// Calls row(offset in what copy_out writes, channels) for every row of a sequence, in the order of saved streams:
/// heads whose list is shorter have no rows past its end.
template <class Cache, class Row>
void for_each_saved_row(const Cache& cache, sequence_id id, Row&& row) {
  const cache_shape shape = cache.shape();
  index_t at = 0;
  const auto plane = [&](layer_id l, index_t width) {
    for (index_t token = 0; token < cache.length(id); ++token)
      for (index_t head = 0; head < shape.kv_heads; ++head, at += width)
        if (token < cache.length(id, cache.list_of(l, head))) row(at, width);
  };
  for (int l = 0; l < shape.layers; ++l)
    if (cache.owns_keys({l})) plane({l}, shape.widths().keys);
  for (int l = 0; l < shape.layers; ++l)
    if (cache.owns_values({l})) plane({l}, shape.widths().values);
}

}  // namespace detail

/// Writes a sequence in the form of kvsharer::shared_cache::save, so that a cache on the host can restore it. Waits for
/// the cache's stream, and allocates. Throws errc::file_access if the stream fails, errc::cuda_call.
template <class E, class Layout, class Resource>
void save(const shared_cache<E, Layout, Resource>& cache, sequence_id id, std::ostream& out) {
  const std::size_t numbers = cache.row_numbers(cache.length(id));
  const detail::pinned_rows<E> rows(numbers);
  cache.copy_out(id, rows.data());
  cache.stream().synchronize();
  kvsharer::detail::cache_stream_writer writer(out);
  cache.write_header(writer, cache_stream_code<E>, id);
  detail::for_each_saved_row(
      cache, id, [&](index_t at, index_t width) { writer.row(width, [&](index_t i) { return rows.data()[at + i]; }); });
  writer.checksum();
}

/// Creates a sequence from what `save` wrote, here or on the host. Waits for the cache's stream, and allocates. Throws
/// what kvsharer::shared_cache::restore does, having changed nothing, and errc::cuda_call.
template <class E, class Layout, class Resource>
sequence_id restore(shared_cache<E, Layout, Resource>& cache, std::istream& in) {
  kvsharer::detail::cache_stream_reader reader(in);
  const cache_stream_header header = cache.read_header(reader, cache_stream_code<E>);
  const sequence_id id = cache.create();
  try {
    cache.read_lists(reader, header, id);
    const std::size_t numbers = cache.row_numbers(header.length);
    const detail::pinned_rows<E> rows(numbers);
    detail::for_each_saved_row(cache, id, [&](index_t at, index_t width) {
      reader.row<E>(width, [&](index_t i, E x) { rows.data()[at + i] = x; });
    });
    reader.checksum();
    cache.copy_in(id, rows.data());
    cache.stream().synchronize();
  } catch (...) {
    cache.drop(id);
    throw;
  }
  return id;
}

}  // namespace kvsharer::inline v0::cuda
