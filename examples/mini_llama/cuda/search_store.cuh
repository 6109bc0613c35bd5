// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "checkpoint/config.hpp"
#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/pool_view.cuh"
#include "kvsharer/backend/cuda/store.cuh"
#include "kvsharer/core/share_plan.hpp"
#include "kvsharer/core/types.hpp"
#include "kvsharer/layout/contiguous.hpp"
#include "kvsharer/search/resumable_layers.hpp"

namespace mini_llama::cuda {

/// For every layer, `numbers` elements of the accepted run and as many of the candidate's, contiguous.
template <class E>
kvsharer::resumable_layers<E*> pieces(E* memory, kvsharer::index_t numbers, int layers) {
  std::vector<E*> accepted, candidate;
  for (int l = 0; l < layers; ++l) {
    accepted.push_back(memory + 2 * l * numbers);
    candidate.push_back(memory + (2 * l + 1) * numbers);
  }
  return {std::move(accepted), std::move(candidate)};
}

/// calibration_store in device memory: the keys and values of all samples, from the accepted plan's run and from the
/// candidate's, which writes to planes of its own. The decoder sees it as a cache under the candidate's plan. All
/// memory is allocated in the constructor: 4 * layers planes of [sample][kv_head][token][channel].
template <kvsharer::CacheElement E>
class search_store {
  using layout = kvsharer::layout::head_major;

 public:
  /// Synchronises: for set-up. Throws kvsharer::error (device_memory, cuda_call).
  search_store(kvsharer::cuda::stream_ref stream, const model_config& c, kvsharer::index_t samples,
               kvsharer::index_t tokens)
      : shape_{c.layers, c.kv_heads, c.head_dim, tokens},
        plane_(samples * c.kv_heads * tokens * c.head_dim),
        memory_(stream, static_cast<std::size_t>(4 * c.layers * plane_)),
        tables_(stream, static_cast<std::size_t>(samples)),
        layers_(pieces(memory_.data(), 2 * plane_, c.layers)) {
    std::vector<std::int32_t> each(tables_.size());
    std::iota(each.begin(), each.end(), 0);
    kvsharer::cuda::check(
        cudaMemcpyAsync(tables_.data(), each.data(), tables_.bytes(), cudaMemcpyHostToDevice, stream.get()),
        "cudaMemcpyAsync");
    stream.synchronize();
  }

  kvsharer::cache_shape shape() const noexcept { return shape_; }

  /// From now on, layers from `first` on belong to the candidate, and read what `plan` says.
  void begin_candidate(const kvsharer::share_plan& plan, kvsharer::layer_id first) {
    plan_ = plan;
    layers_.begin(first);
  }

  /// The candidate's layers become the accepted ones.
  void accept() noexcept { layers_.accept(); }

  // What the decoder requires of a cache.

  auto keys(kvsharer::layer_id l) const { return batch_of<const E>(plan_.key_owner(l), 0); }
  auto values(kvsharer::layer_id l) const { return batch_of<const E>(plan_.value_owner(l), 1); }

  template <kvsharer::CacheElement In>
  void store(const kvsharer::cuda::backend& on, kvsharer::layer_id owner, const kvsharer::cuda::ragged_batch& batch,
             const kvsharer::cuda::new_rows<In>& rows, const kvsharer::cuda::rope_angles& rope) {
    kvsharer::cuda::store(on, batch_of<E>(owner, 0), batch_of<E>(owner, 1), batch, rows, rope, owner);
  }

  /// One sample as the library's KVCache, for the calibration average: the planes that each layer stored for itself.
  class sample {
   public:
    static constexpr auto space = kvsharer::memory_space::device;
    sample(const search_store& store, std::int32_t place) : store_(store), place_(place) {}
    kvsharer::cache_shape shape() const { return store_.shape_; }
    kvsharer::index_t length() const { return store_.shape_.capacity; }
    auto keys(kvsharer::layer_id l) const { return store_.template batch_of<const E>(l, 0).sequence(place_); }
    auto values(kvsharer::layer_id l) const { return store_.template batch_of<const E>(l, 1).sequence(place_); }

   private:
    const search_store& store_;
    std::int32_t place_;
  };

 private:
  template <class T>
  kvsharer::cuda::pool_batch<T> batch_of(kvsharer::layer_id owner, int values) const {
    T* const planes = layers_[owner];
    return kvsharer::cuda::pool_of(planes + values * plane_, plane_, tables_.data(), 1, shape_, layout{});
  }

  kvsharer::cache_shape shape_;
  kvsharer::index_t plane_;
  kvsharer::cuda::device_buffer<E> memory_;
  kvsharer::cuda::device_buffer<std::int32_t> tables_;  // [sample]: its place
  kvsharer::resumable_layers<E*> layers_;               // keys' plane, followed by the values'
  kvsharer::share_plan plan_;
};

}  // namespace mini_llama::cuda
