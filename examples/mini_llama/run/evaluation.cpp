// SPDX-License-Identifier: Apache-2.0
#include "run/evaluation.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/families/own_map.hpp"
#include "kvsharer/backend/cpu/logits.hpp"
#include "kvsharer/backend/cpu/parallel.hpp"
#include "run/window_run.hpp"
#include "support/usage_error.hpp"
#include "text/text_windows.hpp"

namespace mini_llama {

using kvsharer::cache_plan;
using kvsharer::index_t;

namespace {

/// Turns final hidden states into losses and sums them up.
class comparison {
 public:
  explicit comparison(const model& m) : model_(m) {}

  /// Both [targets][hidden]; `shared` is null where it is the full model itself.
  void add(const float* full, const float* shared, std::span<const int> targets) {
    // Logits of a window of a large vocabulary would not fit a cache, nor perhaps memory, so they are made in blocks.
    const auto vocab = static_cast<std::size_t>(model_.config().vocab);
    const auto width = static_cast<std::size_t>(model_.config().hidden);
    full_logits_.resize(block * vocab);
    if (shared) shared_logits_.resize(block * vocab);
    for (std::size_t first = 0; first < targets.size(); first += block) {
      const std::span<const int> some = targets.subspan(first, std::min(block, targets.size() - first));
      const auto rows = static_cast<index_t>(some.size());
      project_logits(model_, full + first * width, rows, full_logits_.data(), scratch_);
      if (shared) project_logits(model_, shared + first * width, rows, shared_logits_.data(), scratch_);
      kvsharer::cpu::parallel_for(rows, [&](index_t r) {
        const auto i = static_cast<std::size_t>(r);
        scores_[i] = score(i * vocab, some[i], shared != nullptr);
      });
      sums_.add(std::span(scores_).first(some.size()));
    }
  }

  std::size_t tokens() const noexcept { return sums_.tokens(); }
  evaluation result() const { return sums_.result(); }

 private:
  kvsharer::prediction_score score(std::size_t offset, index_t target, bool compares) const {
    using namespace kvsharer::cpu;
    const auto row = [&](const std::vector<float>& logits) {
      return std::span(logits).subspan(offset, static_cast<std::size_t>(model_.config().vocab));
    };
    const auto p = row(full_logits_);
    const double log_p = log_normaliser(p), full_loss = cross_entropy(p, log_p, target);
    if (!compares) return {full_loss, full_loss, 0, true};
    const auto q = row(shared_logits_);
    const double log_q = log_normaliser(q);
    return {cross_entropy(q, log_q, target), full_loss, divergence(p, log_p, q, log_q),
            most_likely(p) == most_likely(q)};
  }

  static constexpr std::size_t block = 64;

  const model& model_;
  std::array<kvsharer::prediction_score, block> scores_;
  std::vector<float> full_logits_, shared_logits_;
  workspace scratch_;
  kvsharer::prediction_sums sums_;
};

}  // namespace

void check_text(const session& s, std::span<const int> ids, index_t window) {
  if (ids.empty()) throw usage_error("there is no text to evaluate");
  if (window < 2 || window > s.llama.config().max_position)
    throw usage_error("a window of " + std::to_string(window) + " tokens does not fit this model; choose 2 to " +
                      std::to_string(s.llama.config().max_position));
}

evaluation evaluate(const session& s, const cache_plan& plan, std::span<const int> ids, index_t window,
                    const evaluation_progress& on_progress, const std::function<bool()>& cancelled) {
  check_text(s, ids, window);
  const cache_plan own(own_map(s.llama.config()));
  window_run full(s, own, window), shared(s, plan, window);
  const bool shares = plan != own;
  comparison sums(s.llama);
  for_each_window(ids, window, s.opening(), cancelled, [&](const text_window& w) {
    sums.add(full(w.input), shares ? shared(w.input) : nullptr, w.targets);
    if (on_progress) on_progress(sums.tokens(), ids.size());
  });
  return sums.result();
}

full_reference::full_reference(const session& s, std::vector<int> ids, index_t window,
                               const evaluation_progress& on_progress, const std::function<bool()>& cancelled)
    : session_(s), ids_(std::move(ids)), window_(window) {
  check_text(s, ids_, window);
  const auto width = static_cast<std::size_t>(s.llama.config().hidden);
  hidden_.resize(ids_.size() * width);
  window_run full(s, own_map(s.llama.config()), window);
  comparison sums(s.llama);
  for_each_window(ids_, window, s.opening(), cancelled, [&](const text_window& w) {
    const float* states = full(w.input);
    std::copy_n(states, w.targets.size() * width, hidden_.data() + w.begin * width);
    sums.add(states, nullptr, w.targets);
    if (on_progress) on_progress(sums.tokens(), ids_.size());
  });
  full_ = sums.result();
}

evaluation full_reference::compare(const cache_plan& plan, const evaluation_progress& on_progress,
                                   const std::function<bool()>& cancelled) {
  if (plan == cache_plan(own_map(session_.llama.config()))) return full_;
  const auto width = static_cast<std::size_t>(session_.llama.config().hidden);
  window_run shared(session_, plan, window_);
  comparison sums(session_.llama);
  for_each_window(ids_, window_, session_.opening(), cancelled, [&](const text_window& w) {
    sums.add(hidden_.data() + w.begin * width, shared(w.input), w.targets);
    if (on_progress) on_progress(sums.tokens(), ids_.size());
  });
  return sums.result();
}

}  // namespace mini_llama
