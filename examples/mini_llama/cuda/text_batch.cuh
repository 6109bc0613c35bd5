// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "cuda/batch_size.cuh"
#include "cuda/forward.cuh"
#include "cuda/run_context.cuh"
#include "cuda/score.cuh"
#include "cuda/weights.cuh"
#include "device/gpu.hpp"
#include "run/evaluation.hpp"
#include "run/session.hpp"
#include "text/text_windows.hpp"

/// What evaluations on the device have in common.
namespace mini_llama::cuda {

/// Windows of a text that run as one batch: collected on the host until the batch is full, then copied to the device.
class window_batch {
  using index_t = kvsharer::index_t;
  template <class T>
  using buffer = kvsharer::cuda::device_buffer<T>;

 public:
  window_batch(kvsharer::cuda::stream_ref stream, index_t windows, index_t rows)
      : windows_(windows),
        ids_(stream, static_cast<std::size_t>(rows)),
        targets_(stream, static_cast<std::size_t>(rows)),
        scores_(stream, static_cast<std::size_t>(rows)) {}

  /// Adds a window. True when the batch is full and should run.
  bool add(const text_window& w) {
    lengths_.push_back(static_cast<index_t>(w.input.size()));
    inputs_.insert(inputs_.end(), w.input.begin(), w.input.end());
    following_.insert(following_.end(), w.targets.begin(), w.targets.end());
    return static_cast<index_t>(lengths_.size()) == windows_;
  }

  bool empty() const noexcept { return lengths_.empty(); }
  index_t rows() const noexcept { return static_cast<index_t>(inputs_.size()); }
  const std::vector<index_t>& lengths() const noexcept { return lengths_; }

  void place(const run_context& on) {
    on.place(inputs_.data(), inputs_.size(), ids_.data());
    on.place(following_.data(), following_.size(), targets_.data());
  }

  // [rows], in device memory.
  const std::int32_t* ids() const noexcept { return ids_.data(); }
  const std::int32_t* targets() const noexcept { return targets_.data(); }
  kvsharer::prediction_score* scores() noexcept { return scores_.data(); }

  /// Adds the computed scores to `sums`, and removes all windows.
  void finish(const run_context& on, kvsharer::prediction_sums& sums) {
    std::vector<kvsharer::prediction_score> scores(inputs_.size());
    on.fetch(scores_.data(), scores.data(), scores.size());
    sums.add(scores);
    clear();
  }

  void clear() {
    lengths_.clear();
    inputs_.clear();
    following_.clear();
  }

 private:
  index_t windows_;
  buffer<std::int32_t> ids_, targets_;
  buffer<kvsharer::prediction_score> scores_;
  std::vector<index_t> lengths_;
  std::vector<std::int32_t> inputs_, following_;
};

/// The logits of some rows at once: enough to keep products busy, since all logits of a large vocabulary would take
/// more memory than the model.
template <kvsharer::CacheElement E>
class logit_blocks {
  using index_t = kvsharer::index_t;

 public:
  /// For a text of `tokens` tokens; `compares`: are the logits of two models compared?
  logit_blocks(kvsharer::cuda::stream_ref stream, const model_config& c, std::size_t tokens, bool compares)
      : config_(c),
        block_(std::min(most, static_cast<index_t>(tokens))),
        full_(stream, static_cast<std::size_t>(block_ * c.vocab)),
        shared_(stream, compares ? full_.size() : 0) {}

  /// Scores the batch's rows by final hidden states [rows][hidden]. A null `shared` means that the full model itself is
  /// scored.
  void score(const run_context& on, decoder<E>& model, window_batch& batch, const E* full, const E* shared) {
    for (index_t first = 0; first < batch.rows(); first += block_) {
      const index_t rows = std::min(block_, batch.rows() - first);
      model.project(full + first * config_.hidden, rows, full_.data());
      if (shared) model.project(shared + first * config_.hidden, rows, shared_.data());
      cuda::score(on.on(),
                  {full_.data(), shared ? shared_.data() : nullptr, batch.targets() + first, rows, config_.vocab},
                  batch.scores() + first);
    }
  }

 private:
  static constexpr index_t most = 512;

  const model_config& config_;
  index_t block_;
  kvsharer::cuda::device_buffer<float> full_, shared_;  // [block][vocab]; shared_ is empty if nothing is compared
};

/// Windows that run as one batch, given the free memory: caches store `stored_planes` planes in all, and each row has
/// `states` rows of hidden states.
template <kvsharer::CacheElement E>
kvsharer::index_t windows_at_once(const model_config& c, kvsharer::index_t stored_planes, kvsharer::index_t states,
                                  std::size_t tokens, kvsharer::index_t window, const gpu_choice& choice) {
  const kvsharer::index_t rows = window - 1;
  return sequences_at_once(rows, choice.rows_at_once, sequence_bytes<E>(c, rows, stored_planes, states),
                           (static_cast<kvsharer::index_t>(tokens) + rows - 1) / rows);
}

/// A plan's weights if the session has an alignment folded into them; else empty: the full model's weights apply.
template <kvsharer::CacheElement E>
std::optional<device_weights<E>> aligned_weights(kvsharer::cuda::stream_ref stream, const session& s,
                                                 const kvsharer::cache_plan& plan) {
  if (&s.model_for(plan) == &s.llama) return std::nullopt;
  return device_weights<E>::upload(stream, s.model_for(plan), plan.sharing());
}

/// Calls run() for each batch of a text's windows, the last one possibly not full, until `cancelled` answers yes.
template <class F>
void for_each_batch(window_batch& batch, std::span<const int> ids, kvsharer::index_t window, int bos,
                    const std::function<bool()>& cancelled, F&& run) {
  for_each_window(ids, window, bos, cancelled, [&](const text_window& w) {
    if (batch.add(w)) run();
  });
  if (!batch.empty() && !(cancelled && cancelled())) run();
}

}  // namespace mini_llama::cuda
