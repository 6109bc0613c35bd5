// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "cuda/batch_size.cuh"
#include "cuda/evaluate_on.hpp"
#include "cuda/forward.cuh"
#include "cuda/run_context.cuh"
#include "cuda/score.cuh"
#include "kvsharer/backend/cuda/sequence_batch.cuh"
#include "kvsharer/backend/cuda/shared_cache.cuh"
#include "kvsharer/layout/paged.hpp"
#include "session.hpp"
#include "text_windows.hpp"

namespace mini_llama::cuda {

/// A cache on the device whose sequences live for one batch.
template <kvsharer::CacheElement E>
class batch_cache {
  using index_t = kvsharer::index_t;

 public:
  using cache_type = kvsharer::cuda::shared_cache<E, kvsharer::layout::paged<16>>;

  batch_cache(kvsharer::cuda::stream_ref stream, const model_config& c, const kvsharer::share_map& map,
              index_t sequences, index_t capacity)
      : cache_(map, {c.layers, c.kv_heads, c.head_dim, capacity}, {.max_sequences = sequences}, stream),
        batch_(stream, sequences) {}

  /// New sequences of so many tokens in place of all others.
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

/// Evaluation on the device: windows of a text as ragged batches, first through the full model, then under a map.
template <kvsharer::CacheElement E>
class evaluator {
  using index_t = kvsharer::index_t;
  template <class T>
  using buffer = kvsharer::cuda::device_buffer<T>;

 public:
  evaluator(kvsharer::cuda::stream_ref stream, const session& s, const kvsharer::share_map& map, std::size_t tokens,
            index_t window, const gpu_choice& choice)
      : config_(s.llama.config()),
        shares_(map.reader_count() > 0),
        weights_(device_weights<E>::upload(stream, s.llama)),
        context_(stream, config_, window),
        block_(std::min(most_block, static_cast<index_t>(tokens))),
        full_logits_(stream, size(block_, config_.vocab)),
        shared_logits_(stream, shares_ ? full_logits_.size() : 0),
        windows_(count_windows(map, tokens, window - 1, choice)),
        rows_(windows_ * (window - 1)),
        buffers_(stream, config_, rows_, 0),
        ids_(stream, size(rows_, 1)),
        targets_(stream, size(rows_, 1)),
        scores_(stream, size(rows_, 1)),
        full_states_(stream, size(rows_, config_.hidden)),
        shared_states_(stream, shares_ ? full_states_.size() : 0),
        full_cache_(stream, config_, kvsharer::share_map::identity(config_.layers), windows_, window - 1),
        model_(context_.on(), weights_, context_.angles(), context_.products(), buffers_) {
    if (shares_) shared_cache_.emplace(stream, config_, map, windows_, window - 1);
  }

  /// Takes a window into the batch. True when it is full, and to be run.
  bool add(const text_window& w) {
    lengths_.push_back(static_cast<index_t>(w.input.size()));
    inputs_.insert(inputs_.end(), w.input.begin(), w.input.end());
    following_.insert(following_.end(), w.targets.begin(), w.targets.end());
    return static_cast<index_t>(lengths_.size()) == windows_;
  }

  bool holds_windows() const noexcept { return !lengths_.empty(); }

  /// Runs and scores what was added, and leaves nothing of it.
  void run() {
    context_.place(inputs_.data(), inputs_.size(), ids_.data());
    context_.place(following_.data(), following_.size(), targets_.data());
    model_.final_states(full_cache_.cache(), full_cache_.begin(lengths_), ids_.data(), full_states_.data());
    if (shares_)
      model_.final_states(shared_cache_->cache(), shared_cache_->begin(lengths_), ids_.data(), shared_states_.data());
    const auto rows = static_cast<index_t>(inputs_.size());
    for (index_t first = 0; first < rows; first += block_) score_block(first, std::min(block_, rows - first));
    std::vector<row_score> scores(inputs_.size());
    context_.fetch(scores_.data(), scores.data(), scores.size());
    sums_.add(scores);
    lengths_.clear();
    inputs_.clear();
    following_.clear();
  }

  const score_sums& sums() const noexcept { return sums_; }

 private:
  /// Rows whose logits are made at once: enough to keep products busy, since all logits of a large vocabulary would
  /// take more memory than the model.
  static constexpr index_t most_block = 512;

  static std::size_t size(index_t rows, index_t width) { return static_cast<std::size_t>(rows * width); }

  index_t count_windows(const kvsharer::share_map& map, std::size_t tokens, index_t rows,
                        const gpu_choice& choice) const {
    const index_t stored = config_.layers + (shares_ ? map.owner_count() : 0);
    return sequences_at_once(rows, choice.rows_at_once, sequence_bytes<E>(config_, rows, stored, shares_ ? 2 : 1),
                             (static_cast<index_t>(tokens) + rows - 1) / rows);
  }

  void score_block(index_t first, index_t rows) {
    model_.project(full_states_.data() + first * config_.hidden, rows, full_logits_.data());
    if (shares_) model_.project(shared_states_.data() + first * config_.hidden, rows, shared_logits_.data());
    score(
        context_.on(),
        {full_logits_.data(), shares_ ? shared_logits_.data() : nullptr, targets_.data() + first, rows, config_.vocab},
        scores_.data() + first);
  }

  const model_config& config_;
  bool shares_;
  device_weights<E> weights_;
  run_context context_;
  index_t block_;
  buffer<float> full_logits_, shared_logits_;  // [block][vocab], the latter nothing where the map does not share
  index_t windows_, rows_;                     // that run as one batch, by what memory is left by now
  run_buffers<E> buffers_;
  buffer<std::int32_t> ids_, targets_;  // [rows]
  buffer<row_score> scores_;            // [rows]
  buffer<E> full_states_;               // [rows][hidden]
  buffer<E> shared_states_;             // the same, or nothing
  batch_cache<E> full_cache_;
  std::optional<batch_cache<E>> shared_cache_;
  decoder<E> model_;
  std::vector<index_t> lengths_;  // of the windows in the batch
  std::vector<std::int32_t> inputs_, following_;
  score_sums sums_;
};

template <kvsharer::CacheElement E>
evaluation evaluate_on(kvsharer::cuda::stream_ref stream, const session& s, const kvsharer::share_map& map,
                       std::span<const int> ids, kvsharer::index_t window, const gpu_choice& choice,
                       const evaluation_progress& on_progress, const std::function<bool()>& cancelled) {
  check_text(s, ids, window);
  if (&s.model_for(map) != &s.llama)
    throw kvsharer::error(kvsharer::errc::bad_argument,
                          "on the device the full model and the map run with the same weights, and this map has an "
                          "alignment: evaluate on the host (--backend cpu), or leave the alignment out (--no-align)");
  evaluator<E> text(stream, s, map, ids.size(), window, choice);
  const auto run = [&] {
    text.run();
    if (on_progress) on_progress(text.sums().tokens(), ids.size());
  };
  for_each_window(ids, window, s.llama.config().bos, cancelled, [&](const text_window& w) {
    if (text.add(w)) run();
  });
  if (text.holds_windows() && !(cancelled && cancelled())) run();
  return text.sums().result();
}

template <kvsharer::CacheElement E>
std::vector<std::vector<float>> logits_on(kvsharer::cuda::stream_ref stream, const session& s,
                                          const kvsharer::share_map& map, const token_batch& batch,
                                          const gpu_choice& choice) {
  using kvsharer::index_t;
  const model_config& c = s.llama.config();
  std::size_t longest = 0;
  for (const std::vector<int>& ids : batch) longest = std::max(longest, ids.size());
  if (longest == 0) return {};
  const auto capacity = static_cast<index_t>(longest);
  const auto vocab = static_cast<std::size_t>(c.vocab);

  const auto weights = device_weights<E>::upload(stream, s.model_for(map), map);
  run_context context(stream, c, capacity);
  const index_t most = sequences_at_once(capacity, choice.rows_at_once,
                                         sequence_bytes<E>(c, capacity, map.owner_count(), 1) + vocab * sizeof(float),
                                         static_cast<index_t>(batch.size()));
  run_buffers<E> buffers(stream, c, most * capacity, most);
  kvsharer::cuda::device_buffer<std::int32_t> ids(stream, static_cast<std::size_t>(most) * longest);
  batch_cache<E> held(stream, c, map, most, capacity);
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
