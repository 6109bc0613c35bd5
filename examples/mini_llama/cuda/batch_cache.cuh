// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "checkpoint/config.hpp"
#include "kvsharer/backend/cuda/sequence_batch.cuh"
#include "kvsharer/backend/cuda/shared_cache.cuh"
#include "kvsharer/core/cache_plan.hpp"
#include "kvsharer/layout/paged.hpp"

namespace mini_llama::cuda {

/// A cache on the device whose sequences live for one batch.
template <kvsharer::CacheElement E>
class batch_cache {
  using index_t = kvsharer::index_t;

 public:
  using cache_type = kvsharer::cuda::shared_cache<E, kvsharer::layout::paged<16>>;

  batch_cache(kvsharer::cuda::stream_ref stream, const model_config& c, const kvsharer::cache_plan& plan,
              index_t sequences, index_t capacity)
      : cache_(plan, {c.layers, c.kv_heads, c.head_dim, capacity}, {.max_sequences = sequences}, stream),
        batch_(stream, sequences) {}

  /// Replaces all sequences by new ones, of these numbers of tokens.
  const kvsharer::cuda::ragged_batch& begin(const std::vector<index_t>& tokens) {
    cache_.clear();
    std::vector<kvsharer::sequence_growth> growth;
    for (const index_t count : tokens) growth.push_back({cache_.create(), count});
    cache_.append(growth);
    batch_.assign(cache_, growth);
    return batch_.batch();
  }

  cache_type& cache() noexcept { return cache_; }

 private:
  cache_type cache_;
  kvsharer::cuda::sequence_batch<> batch_;
};

}  // namespace mini_llama::cuda
