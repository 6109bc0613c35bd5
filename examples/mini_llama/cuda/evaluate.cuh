// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "cuda/batch_cache.cuh"
#include "cuda/batch_size.cuh"
#include "cuda/evaluate_on.hpp"
#include "cuda/forward.cuh"
#include "cuda/run_context.cuh"
#include "cuda/text_batch.cuh"
#include "run/session.hpp"

namespace mini_llama::cuda {

/// Evaluation on the device: windows of a text as ragged batches, first through the full model, then under a plan.
template <kvsharer::CacheElement E>
class evaluator {
  using index_t = kvsharer::index_t;
  template <class T>
  using buffer = kvsharer::cuda::device_buffer<T>;

 public:
  evaluator(kvsharer::cuda::stream_ref stream, const session& s, const kvsharer::cache_plan& plan, std::size_t tokens,
            index_t window, const gpu_choice& choice)
      : config_(s.llama.config()),
        shares_(!plan.is_identity()),
        weights_(device_weights<E>::upload(stream, s.llama)),
        aligned_(aligned_weights<E>(stream, s, plan)),
        context_(stream, config_, window),
        blocks_(stream, config_, tokens, shares_),
        windows_(windows_at_once<E>(config_, 2 * config_.layers + (shares_ ? plan.sharing().planes() : 0),
                                    shares_ ? 2 : 1, tokens, window, choice)),
        rows_(windows_ * (window - 1)),
        buffers_(stream, config_, rows_, 0),
        batch_(stream, windows_, rows_),
        full_states_(stream, static_cast<std::size_t>(rows_ * config_.hidden)),
        shared_states_(stream, shares_ ? full_states_.size() : 0),
        full_cache_(stream, config_, kvsharer::share_map::identity(config_.layers), windows_, window - 1),
        model_(context_.on(), weights_, context_.angles(), context_.products(), buffers_),
        shared_model_(context_.on(), aligned_ ? *aligned_ : weights_, context_.angles(), context_.products(),
                      buffers_) {
    if (shares_) shared_cache_.emplace(stream, config_, plan, windows_, window - 1);
  }

  window_batch& batch() noexcept { return batch_; }

  /// Runs and scores the windows in the batch, and empties it.
  void run() {
    batch_.place(context_);
    model_.final_states(full_cache_.cache(), full_cache_.begin(batch_.lengths()), batch_.ids(), full_states_.data());
    if (shares_)
      shared_model_.final_states(shared_cache_->cache(), shared_cache_->begin(batch_.lengths()), batch_.ids(),
                                 shared_states_.data());
    blocks_.score(context_, model_, batch_, full_states_.data(), shares_ ? shared_states_.data() : nullptr);
    batch_.finish(context_, sums_);
  }

  const kvsharer::prediction_sums& sums() const noexcept { return sums_; }

 private:
  const model_config& config_;
  bool shares_;
  device_weights<E> weights_;
  std::optional<device_weights<E>> aligned_;
  run_context context_;
  logit_blocks<E> blocks_;
  index_t windows_, rows_;  // sizes of one batch, by the free memory
  run_buffers<E> buffers_;
  window_batch batch_;
  buffer<E> full_states_;    // [rows][hidden]
  buffer<E> shared_states_;  // the same, or empty
  batch_cache<E> full_cache_;
  std::optional<batch_cache<E>> shared_cache_;
  decoder<E> model_, shared_model_;
  kvsharer::prediction_sums sums_;
};

template <kvsharer::CacheElement E>
evaluation evaluate_on(kvsharer::cuda::stream_ref stream, const session& s, const kvsharer::cache_plan& plan,
                       std::span<const int> ids, kvsharer::index_t window, const gpu_choice& choice,
                       const evaluation_progress& on_progress, const std::function<bool()>& cancelled) {
  check_text(s, ids, window);
  evaluator<E> text(stream, s, plan, ids.size(), window, choice);
  for_each_batch(text.batch(), ids, window, s.opening(), cancelled, [&] {
    text.run();
    if (on_progress) on_progress(text.sums().tokens(), ids.size());
  });
  return text.sums().result();
}

template <kvsharer::CacheElement E>
std::vector<std::vector<float>> logits_on(kvsharer::cuda::stream_ref stream, const session& s,
                                          const kvsharer::cache_plan& plan, const token_batch& batch,
                                          const gpu_choice& choice) {
  using kvsharer::index_t;
  const model_config& c = s.llama.config();
  std::size_t longest = 0;
  for (const std::vector<int>& ids : batch) longest = std::max(longest, ids.size());
  if (longest == 0) return {};
  const auto capacity = static_cast<index_t>(longest);
  const auto vocab = static_cast<std::size_t>(c.vocab);

  const auto weights = device_weights<E>::upload(stream, s.model_for(plan), plan.sharing());
  run_context context(stream, c, capacity);
  const index_t most = sequences_at_once(
      capacity, choice.rows_at_once, sequence_bytes<E>(c, capacity, plan.sharing().planes(), 1) + vocab * sizeof(float),
      static_cast<index_t>(batch.size()));
  run_buffers<E> buffers(stream, c, most * capacity, most);
  kvsharer::cuda::device_buffer<std::int32_t> ids(stream, static_cast<std::size_t>(most) * longest);
  batch_cache<E> held(stream, c, plan, most, capacity);
  decoder<E> model(context.on(), weights, context.angles(), context.products(), buffers);

  std::vector<std::vector<float>> logits;
  for (std::size_t first = 0; first < batch.size(); first += static_cast<std::size_t>(most)) {
    const auto some = std::span(batch).subspan(first, std::min(static_cast<std::size_t>(most), batch.size() - first));
    std::vector<index_t> lengths;
    std::vector<std::int32_t> all;
    for (const std::vector<int>& sequence : some) {
      lengths.push_back(static_cast<index_t>(sequence.size()));
      all.insert(all.end(), sequence.begin(), sequence.end());
    }
    context.place(all.data(), all.size(), ids.data());
    model.last_logits(held.cache(), held.begin(lengths), ids.data());
    std::vector<float> rows(some.size() * vocab);
    context.fetch(buffers.logits.data(), rows.data(), rows.size());
    for (std::size_t i = 0; i < some.size(); ++i)
      logits.emplace_back(rows.data() + i * vocab, rows.data() + (i + 1) * vocab);
  }
  return logits;
}

}  // namespace mini_llama::cuda
