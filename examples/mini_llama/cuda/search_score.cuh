// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "cuda/divergence.cuh"
#include "cuda/gemm.cuh"
#include "cuda/weights.cuh"
#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/similarity.cuh"
#include "kvsharer/core/element.hpp"
#include "kvsharer/core/types.hpp"

/// objective.hpp's scores on the device.
namespace mini_llama::cuda {

/// Scores the samples' final hidden states, [rows][hidden] in device memory, against the full model's. Waits for the
/// stream, since the host needs the score; allocates nothing.
template <kvsharer::CacheElement E>
class search_score {
 public:
  virtual ~search_score() = default;
  virtual double operator()(const E* hidden) = 0;
};

template <kvsharer::CacheElement E>
class cosine_score final : public search_score<E> {
 public:
  /// Keeps a copy of `full`, of `numbers` numbers.
  cosine_score(const kvsharer::cuda::backend& on, const E* full, std::size_t numbers, kvsharer::index_t samples,
               kvsharer::similarity mode)
      : on_(on), full_(on.stream, numbers), samples_(samples), mode_(mode) {
    kvsharer::cuda::check(cudaMemcpyAsync(full_.data(), full, full_.bytes(), cudaMemcpyDeviceToDevice, on.stream.get()),
                          "cudaMemcpyAsync");
  }

  double operator()(const E* hidden) override {
    return kvsharer::cuda::hidden_similarity(on_, std::span<const E>(full_.data(), full_.size()),
                                             std::span<const E>(hidden, full_.size()), samples_, mode_);
  }

 private:
  const kvsharer::cuda::backend& on_;
  kvsharer::cuda::device_buffer<E> full_;
  kvsharer::index_t samples_;
  kvsharer::similarity mode_;
};

/// Minus the mean divergence of predictions. Keeps the full model's logits, rows * vocab floats.
template <kvsharer::CacheElement E>
class divergence_score final : public search_score<E> {
  using index_t = kvsharer::index_t;

 public:
  divergence_score(const kvsharer::cuda::backend& on, gemm& products, const device_weights<E>& weights, const E* full,
                   index_t rows)
      : on_(on),
        products_(products),
        weights_(weights),
        rows_(rows),
        full_(on.stream, static_cast<std::size_t>(rows * vocab())),
        logits_(on.stream, static_cast<std::size_t>(std::min(block, rows) * vocab())),
        parts_(on.stream, static_cast<std::size_t>(rows)),
        on_host_(parts_.size()) {
    // In the same blocks as later runs, so that the full model's divergence from itself is exactly 0.
    for (index_t first = 0; first < rows_; first += block) project(full, first, full_.data() + first * vocab());
  }

  double operator()(const E* hidden) override {
    for (index_t first = 0; first < rows_; first += block) {
      project(hidden, first, logits_.data());
      divergences(on_, full_.data() + first * vocab(), logits_.data(), rows_of(first), vocab(), parts_.data() + first);
    }
    kvsharer::cuda::check(
        cudaMemcpyAsync(on_host_.data(), parts_.data(), parts_.bytes(), cudaMemcpyDeviceToHost, on_.stream.get()),
        "cudaMemcpyAsync");
    on_.stream.synchronize();
    double sum = 0;
    for (const double part : on_host_) sum += part;
    return -sum / static_cast<double>(rows_);
  }

 private:
  static constexpr index_t block = 256;  // rows whose logits are made at once: the L2 still has most of them

  index_t vocab() const { return weights_.config().vocab; }
  index_t rows_of(index_t first) const { return std::min(block, rows_ - first); }

  /// to [rows_of(first)][vocab] = the logits of the block's rows.
  void project(const E* hidden, index_t first, float* to) {
    const index_t width = weights_.config().hidden;
    products_(hidden + first * width, weights_.head(), to, rows_of(first), vocab(), width);
  }

  const kvsharer::cuda::backend& on_;
  gemm& products_;
  const device_weights<E>& weights_;
  index_t rows_;
  kvsharer::cuda::device_buffer<float> full_;    // [rows][vocab]
  kvsharer::cuda::device_buffer<float> logits_;  // [block][vocab]
  kvsharer::cuda::device_buffer<double> parts_;  // [rows]
  std::vector<double> on_host_;                  // the same
};

}  // namespace mini_llama::cuda
