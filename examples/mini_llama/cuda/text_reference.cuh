// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "cuda/batch_cache.cuh"
#include "cuda/evaluate_on.hpp"
#include "cuda/text_batch.cuh"

namespace mini_llama::cuda {

/// The full model's view of a text, on the device. Device memory: the weights, ids * hidden numbers, and one batch.
template <kvsharer::CacheElement E>
class device_reference final : public text_reference {
  using index_t = kvsharer::index_t;
  template <class T>
  using buffer = kvsharer::cuda::device_buffer<T>;

 public:
  device_reference(kvsharer::cuda::stream_ref stream, const session& s, std::vector<int> ids, index_t window,
                   const gpu_choice& choice, const evaluation_progress& on_progress,
                   const std::function<bool()>& cancelled)
      : stream_(stream),
        session_(s),
        config_(s.llama.config()),
        ids_(std::move(ids)),
        window_(window),
        weights_(device_weights<E>::upload(stream, s.llama)),
        context_(stream, config_, window),
        blocks_(stream, config_, ids_.size(), true),
        full_states_(stream, ids_.size() * static_cast<std::size_t>(config_.hidden)),
        windows_(windows_at_once<E>(config_, 2 * config_.layers, 1, ids_.size(), window, choice)),
        rows_(windows_ * (window - 1)),
        buffers_(stream, config_, rows_, 0),
        batch_(stream, windows_, rows_),
        shared_states_(stream, static_cast<std::size_t>(rows_ * config_.hidden)),
        model_(context_.on(), weights_, context_.angles(), context_.products(), buffers_) {
    full_ = run(model_, kvsharer::share_map::identity(config_.layers), false, on_progress, cancelled);
  }

  const evaluation& full() const noexcept override { return full_; }

  evaluation compare(const kvsharer::cache_plan& plan, const evaluation_progress& on_progress,
                     const std::function<bool()>& cancelled) override {
    if (plan.is_identity()) return full_;
    const auto aligned = aligned_weights<E>(stream_, session_, plan);
    if (!aligned) return run(model_, plan, true, on_progress, cancelled);
    decoder<E> model(context_.on(), *aligned, context_.angles(), context_.products(), buffers_);
    return run(model, plan, true, on_progress, cancelled);
  }

 private:
  /// Runs the text under a plan, and compares it with the full model, or stores it as the full model's result.
  evaluation run(decoder<E>& model, const kvsharer::cache_plan& plan, bool compares,
                 const evaluation_progress& on_progress, const std::function<bool()>& cancelled) {
    batch_cache<E> held(stream_, config_, plan, windows_, window_ - 1);
    kvsharer::prediction_sums sums;
    index_t scored = 0;
    for_each_batch(batch_, ids_, window_, session_.opening(), cancelled, [&] {
      batch_.place(context_);
      E* const full = full_states_.data() + scored * config_.hidden;
      E* const states = compares ? shared_states_.data() : full;
      model.final_states(held.cache(), held.begin(batch_.lengths()), batch_.ids(), states);
      blocks_.score(context_, model_, batch_, full, compares ? states : nullptr);
      scored += batch_.rows();
      batch_.finish(context_, sums);
      if (on_progress) on_progress(sums.tokens(), ids_.size());
    });
    batch_.clear();
    return sums.result();
  }

  kvsharer::cuda::stream_ref stream_;
  const session& session_;
  const model_config& config_;
  std::vector<int> ids_;
  index_t window_;
  device_weights<E> weights_;
  run_context context_;
  logit_blocks<E> blocks_;
  buffer<E> full_states_;   // [ids][hidden], in the order of scoring
  index_t windows_, rows_;  // sizes of one batch, by the free memory
  run_buffers<E> buffers_;
  window_batch batch_;
  buffer<E> shared_states_;  // [rows][hidden]
  decoder<E> model_;
  evaluation full_;
};

template <kvsharer::CacheElement E>
std::unique_ptr<text_reference> reference_on(kvsharer::cuda::stream_ref stream, const session& s, std::vector<int> ids,
                                             kvsharer::index_t window, const gpu_choice& choice,
                                             const evaluation_progress& on_progress,
                                             const std::function<bool()>& cancelled) {
  check_text(s, ids, window);
  return std::make_unique<device_reference<E>>(stream, s, std::move(ids), window, choice, on_progress, cancelled);
}

}  // namespace mini_llama::cuda
