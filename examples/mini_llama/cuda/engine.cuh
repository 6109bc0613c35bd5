// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "cuda/forward.cuh"
#include "cuda/replay.cuh"
#include "cuda/run_context.cuh"
#include "kvsharer/backend/cuda/sequence_batch.cuh"
#include "kvsharer/backend/cuda/shared_cache.cuh"
#include "kvsharer/layout/paged.hpp"

namespace mini_llama::cuda {

inline constexpr kvsharer::index_t page_tokens = 16;

/// The sizes that an engine must hold.
struct engine_limits {
  kvsharer::index_t sequences = 1;
  kvsharer::index_t tokens = 0;  ///< of one sequence
  kvsharer::index_t rows = 0;    ///< that run at once
};

/// A model that runs on the device with its own cache. It appends tokens to some sequences, runs them, and leaves the
/// logits of each sequence's last row, and the most likely token, in device memory. Steps of one token per sequence are
/// captured once and replayed. Borrows weights and stream; never allocates, and `step` does not synchronise.
template <kvsharer::CacheElement E>
class engine {
  using index_t = kvsharer::index_t;
  template <class T>
  using buffer = kvsharer::cuda::device_buffer<T>;

 public:
  using cache_type = kvsharer::cuda::shared_cache<E, kvsharer::layout::paged<page_tokens>>;

  engine(kvsharer::cuda::stream_ref stream, const device_weights<E>& weights, const kvsharer::cache_plan& plan,
         engine_limits limits, std::string tag = {})
      : stream_(stream),
        config_(weights.config()),
        context_(stream, config_, limits.tokens),
        buffers_(stream, config_, std::max(limits.rows, limits.sequences), limits.sequences),
        cache_(plan, {config_.layers, config_.kv_heads, config_.head_dim, limits.tokens},
               {.max_sequences = limits.sequences, .tag = std::move(tag)}, stream),
        batch_(stream, limits.sequences),
        ids_(stream, static_cast<std::size_t>(std::max(limits.rows, limits.sequences))),
        model_(context_.on(), weights, context_.angles(), context_.products(), buffers_) {}
  engine(const engine&) = delete;

  cache_type& cache() noexcept { return cache_; }
  const cache_type& cache() const noexcept { return cache_; }

  /// Times cuBLASLt's algorithms for runs of `rows` rows in `sequences` sequences, instead of relying on cuBLASLt's
  /// choice. Takes some tenths of a second; synchronises.
  void tune(index_t rows, index_t sequences) {
    for (const gemm_shape& shape : model_.products(cache_.sharing(), rows, sequences)) context_.products().tune(shape);
  }

  /// Appends `growth` and runs its tokens' `ids`, sequence after sequence; `logits` and `chosen` hold the results.
  /// Waits until the ids are on the device.
  void run(std::span<const kvsharer::sequence_growth> growth, std::span<const int> ids) {
    place(growth);
    give(ids);
    forward(batch_.batch());
  }

  /// The same for one token of each sequence, taken from `chosen`; neither waits nor reads the tokens on the host. The
  /// first step with a number of sequences finds algorithms and is captured; later ones are replayed.
  void step(std::span<const kvsharer::sequence_growth> growth) {
    place(growth);
    if (captured_rows_ == growth.size()) return step_(stream_);
    // All but the newest rows were written before `place`, whose launches do not overlap with what follows them.
    kvsharer::cuda::ragged_batch settled = batch_.batch();
    settled.settled = true;
    // Runs once outside of a capture, so that kernels can be loaded and algorithms found.
    forward(settled);
    step_ = replay(stream_, [&] { forward(settled); });
    captured_rows_ = growth.size();
  }

  /// [sequences][vocab], in device memory, in the order of the last growth.
  const float* logits() const noexcept { return buffers_.logits.data(); }

  /// [sequences]: the most likely token for each of those rows, or -1 if there is none (see argmax), in device memory;
  /// `step` runs these next.
  const std::int32_t* chosen() const noexcept { return ids_.data(); }

  /// Replaces the tokens in `chosen`. Waits until they are on the device.
  void give(std::span<const int> ids) { context_.place(ids.data(), ids.size(), ids_.data()); }

  /// Waits for all earlier work, and throws kvsharer::error for what kernels have reported.
  void check() const { context_.on().check_status(); }

  /// Copies numbers to the host, waits for them, and throws kvsharer::error for what kernels have reported.
  template <class T>
  void fetch(const T* from, T* to, std::size_t count) const {
    context_.fetch(from, to, count);
  }

 private:
  void place(std::span<const kvsharer::sequence_growth> growth) {
    cache_.append(growth);
    batch_.assign(cache_, growth);
  }

  void forward(const kvsharer::cuda::ragged_batch& batch) {
    model_.last_logits(cache_, batch, ids_.data());
    argmax(context_.on(), buffers_.logits.data(), batch.sequences, config_.vocab, ids_.data());
  }

  kvsharer::cuda::stream_ref stream_;
  const model_config& config_;
  run_context context_;
  run_buffers<E> buffers_;
  cache_type cache_;
  kvsharer::cuda::sequence_batch<> batch_;
  buffer<std::int32_t> ids_;  // [rows], also the tokens of each step
  decoder<E> model_;
  replay step_;
  std::size_t captured_rows_ = 0;
};

}  // namespace mini_llama::cuda
