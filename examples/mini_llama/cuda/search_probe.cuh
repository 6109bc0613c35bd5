// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda/fetched_average.cuh"
#include "cuda/forward.cuh"
#include "cuda/run_context.cuh"
#include "cuda/search_score.cuh"
#include "cuda/search_store.cuh"
#include "device/gpu.hpp"
#include "kvsharer/backend/cuda/calibration_average.cuh"
#include "kvsharer/backend/cuda/distances/distances.cuh"
#include "probe/average_distances.hpp"
#include "probe/fold_metrics.hpp"
#include "probe/probe_request.hpp"
#include "run/finite_logits.hpp"
#include "support/stopwatch.hpp"

namespace mini_llama::cuda {

/// The device's probe: the work of search_probe, with weights, layer inputs, keys and values in device memory. The host
/// gets only a candidate's score, and waits for nothing else; all memory is allocated when the probe is made.
///
/// Device memory: the weights; 2 * layers * samples * tokens * (hidden + 2 * kv_heads * head_dim) numbers of type E;
/// the average's floats; a run's buffers; the memory of the score.
template <kvsharer::CacheElement E>
class search_probe final : public probe {
  using index_t = kvsharer::index_t;
  template <class T>
  using buffer = kvsharer::cuda::device_buffer<T>;

 public:
  /// Runs the full model once, which is both the calibration and the reference, and waits for it.
  search_probe(kvsharer::cuda::stream_ref stream, device_weights<E> weights, const probe_request& wanted)
      : stream_(stream),
        weights_(std::move(weights)),
        config_(weights_.config()),
        samples_(static_cast<index_t>(wanted.samples.size())),
        tokens_(static_cast<index_t>(wanted.samples.at(0).size())),
        device_(kvsharer::cuda::query_device()),
        context_(stream, config_, tokens_, device_, kvsharer::cuda::similarity_scratch_bytes(device_, samples_)),
        on_(context_.on()),
        buffers_(stream, config_, rows(), samples_),
        store_(stream, config_, samples_, tokens_),
        places_(stream, static_cast<std::size_t>(2 * samples_ + 1)),
        input_memory_(stream, static_cast<std::size_t>(2 * config_.layers * row_numbers())),
        inputs_(pieces(input_memory_.data(), row_numbers(), config_.layers)),
        decoder_(on_, weights_, context_.angles(), context_.products(), buffers_),
        average_(on_) {
    place();
    embed_samples(wanted.samples);
    run(kvsharer::share_map::identity(config_.layers), {0});
    score_ = score_for(wanted);
    check_full_model();
    accept();
    for (index_t s = 0; s < samples_; ++s)
      average_.add(typename search_store<E>::sample(store_, static_cast<std::int32_t>(s)));
    on_.check_status();
  }

  void accept() override {
    store_.accept();
    inputs_.accept();
  }

  /// Computed on the device, except `cka` and keys before rotation, for which the averages are copied to the host.
  kvsharer::distance_matrix distances(const std::string& metric, const std::string& keys) override {
    if (metric == "cka" || keys != "post-rope")
      return average_distances(fetch_average(stream_, average_), config_.rope, metric, keys);
    return with_fold_metric(metric, [&](auto fold) {
      buffer<std::byte> scratch(stream_, kvsharer::cuda::distances_scratch_bytes(device_, average_, fold));
      const kvsharer::cuda::backend on(stream_, device_, scratch.data(), scratch.size(), context_.status());
      return kvsharer::cuda::layer_distances(on, average_, fold);
    });
  }

  index_t layer_evaluations() const noexcept override { return layer_evaluations_; }

 private:
  index_t rows() const { return samples_ * tokens_; }
  index_t row_numbers() const { return rows() * config_.hidden; }

  /// Places every sample from its first token on, one after the other.
  void place() {
    std::vector<std::int32_t> words(places_.size(), static_cast<std::int32_t>(tokens_));
    for (index_t s = 0; s <= samples_; ++s)
      words[static_cast<std::size_t>(samples_ + s)] = static_cast<std::int32_t>(s * tokens_);
    context_.place(words.data(), words.size(), places_.data());
    batch_.sequences = samples_;
    batch_.rows = rows();
    batch_.max_rows = tokens_;
    batch_.lengths = places_.data();
    batch_.row_begin = places_.data() + samples_;
  }

  void embed_samples(const token_batch& samples) {
    std::vector<std::int32_t> ids;
    for (const std::vector<int>& sample : samples) ids.insert(ids.end(), sample.begin(), sample.end());
    buffer<std::int32_t> on_device(stream_, ids.size());
    context_.place(ids.data(), ids.size(), on_device.data());
    embed(on_, weights_.embedding(), config_.vocab, config_.hidden, on_device.data(), batch_, inputs_.own({0}));
    inputs_.accept();
  }

  std::unique_ptr<search_score<E>> score_for(const probe_request& wanted) {
    const E* const full = buffers_.normed.data();
    if (wanted.objective == "cosine")
      return std::make_unique<cosine_score<E>>(on_, full, static_cast<std::size_t>(row_numbers()), samples_,
                                               wanted.similarity);
    if (wanted.objective == "kl")
      return std::make_unique<divergence_score<E>>(on_, context_.products(), weights_, full, rows());
    throw usage_error("there is no objective \"" + wanted.objective + "\"; choose cosine or kl");
  }

  void check_full_model() {
    std::vector<float> logits(static_cast<std::size_t>(config_.vocab));
    decoder_.project(buffers_.normed.data() + (rows() - 1) * config_.hidden, 1, buffers_.logits.data());
    context_.fetch(buffers_.logits.data(), logits.data(), logits.size());
    check_reference((*score_)(buffers_.normed.data()), logits);
  }

  double score(const kvsharer::cache_plan& plan, kvsharer::layer_id first) override {
    run(plan.sharing(), first);
    return (*score_)(buffers_.normed.data());
  }

  /// Layers add to their input in place, so each layer's input is copied first: with 7 billion parameters that takes 10
  /// us of a layer's millisecond.
  void run(const kvsharer::share_plan& plan, kvsharer::layer_id first) {
    store_.begin_candidate(plan, first);
    inputs_.begin({first.value + 1});
    E* const x = buffers_.x.data();
    for (int l = first.value; l < config_.layers; ++l, ++layer_evaluations_) {
      if (l == first.value)
        copy(inputs_[first], x);
      else
        copy(x, inputs_.own({l}));
      decoder_.run_layers(store_, plan, batch_, l, l + 1, x);
    }
    rms_norm(on_, x, weights_.final_norm(), config_.norm_eps, rows(), config_.hidden, buffers_.normed.data());
  }

  void copy(const E* from, E* to) {
    kvsharer::cuda::check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(row_numbers()) * sizeof(E),
                                          cudaMemcpyDeviceToDevice, stream_.get()),
                          "cudaMemcpyAsync");
  }

  kvsharer::cuda::stream_ref stream_;
  device_weights<E> weights_;
  const model_config& config_;
  index_t samples_, tokens_;
  kvsharer::cuda::device_properties device_;
  run_context context_;
  const kvsharer::cuda::backend& on_;
  run_buffers<E> buffers_;
  search_store<E> store_;
  buffer<std::int32_t> places_;  // lengths [samples], then row_begin [samples + 1]
  kvsharer::cuda::ragged_batch batch_;
  buffer<E> input_memory_;
  kvsharer::resumable_layers<E*> inputs_;  // [layer]: [rows][hidden]
  decoder<E> decoder_;
  std::unique_ptr<search_score<E>> score_;
  kvsharer::cuda::calibration_average<> average_;
  index_t layer_evaluations_ = 0;
};

/// Uploads the weights, then makes the probe. Declared here and compiled once for each type (search_*.cu), since every
/// type compiles all attention kernels.
template <kvsharer::CacheElement E>
made_probe probe_on(kvsharer::cuda::stream_ref stream, const weight_source& source, const probe_request& wanted);

template <kvsharer::CacheElement E>
made_probe make_probe_on(kvsharer::cuda::stream_ref stream, const weight_source& source, const probe_request& wanted) {
  const stopwatch loading;
  device_weights<E> weights = source.stored != nullptr ? device_weights<E>::upload(stream, *source.stored)
                                                       : device_weights<E>::random(stream, source.config, source.seed);
  stream.synchronize();
  made_probe made;
  made.weights_seconds = loading.seconds();
  const stopwatch calibrating;
  made.runs = std::make_unique<search_probe<E>>(stream, std::move(weights), wanted);
  made.calibration_seconds = calibrating.seconds();
  return made;
}

}  // namespace mini_llama::cuda
