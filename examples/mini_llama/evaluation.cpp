// SPDX-License-Identifier: Apache-2.0
#include "evaluation.hpp"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "forward.hpp"
#include "usage_error.hpp"

namespace mini_llama {

using kvsharer::index_t;
using kvsharer::share_map;

namespace {

using row = Eigen::Map<const Eigen::ArrayXf>;

/// log of the sum of exp, of one row of logits.
double log_normaliser(row logits) {
  const float top = logits.maxCoeff();
  return static_cast<double>(top) + std::log(static_cast<double>((logits - top).exp().sum()));
}

/// KL(p || q) in nats, of two rows of logits. With p normalised the log-normalisers stand outside the sum.
double divergence(row p, double log_p, row q, double log_q) {
  const auto weights = (p - static_cast<float>(log_p)).exp();
  return static_cast<double>((weights * (p - q)).sum()) - log_p + log_q;
}

index_t argmax(row logits) {
  index_t best;
  logits.maxCoeff(&best);
  return best;
}

/// Final hidden states of one window under one map, through a cache that holds that window alone.
class window_run {
 public:
  window_run(const session& s, const share_map& map, index_t window)
      : model_(s.llama),
        cache_(map, {s.identity.layers, s.identity.kv_heads, s.identity.head_dim, window}),
        hidden_(static_cast<std::size_t>(window * s.llama.config().hidden)) {}

  const float* operator()(std::span<const int> ids) {
    const auto rows = static_cast<index_t>(ids.size());
    cache_.clear();
    const sequence_slice slice{cache_.create(), 0, rows};
    cache_.append(slice.id, rows);
    embed(model_, ids, hidden_.data());
    run_layers(model_, cache_, cache_.map(), {&slice, 1}, 0, model_.config().layers, hidden_.data(), workspace_);
    final_norm(model_, hidden_.data(), rows, hidden_.data());
    return hidden_.data();
  }

 private:
  const model& model_;
  kvsharer::shared_cache<> cache_;
  std::vector<float> hidden_;
  workspace workspace_;
};

}  // namespace

evaluation evaluate(const session& s, const share_map& map, std::span<const int> ids, index_t window,
                    const std::function<void(std::size_t, std::size_t)>& on_progress,
                    const std::function<bool()>& cancelled) {
  const model_config& config = s.llama.config();
  if (ids.empty()) throw usage_error("there is no text to evaluate");
  if (window < 2 || window > config.max_position)
    throw usage_error("a window of " + std::to_string(window) + " tokens does not fit this model; choose 2 to " +
                      std::to_string(config.max_position));
  const auto step = static_cast<std::size_t>(window - 1), width = static_cast<std::size_t>(config.hidden);
  const bool shares = map.reader_count() > 0;
  window_run full(s, share_map::identity(config.layers), window), shared(s, map, window);

  // Logits of a window of a large vocabulary would not fit a cache, nor perhaps memory, so they are made in blocks.
  constexpr std::size_t block = 64;
  const auto vocab = static_cast<std::size_t>(config.vocab);
  std::vector<float> full_logits(block * vocab), shared_logits(shares ? block * vocab : 0);
  workspace scratch;

  double nll = 0, full_nll = 0, kl = 0;
  std::size_t tokens = 0, agreed = 0;
  std::vector<int> piece;
  const bool has_bos = config.bos >= 0;
  for (std::size_t begin = has_bos ? 0 : 1; begin < ids.size() && !(cancelled && cancelled()); begin += step) {
    const std::size_t count = std::min(step, ids.size() - begin);
    piece.assign(1, has_bos ? config.bos : ids[begin - 1]);
    piece.insert(piece.end(), ids.begin() + static_cast<std::ptrdiff_t>(begin),
                 ids.begin() + static_cast<std::ptrdiff_t>(begin + count - 1));
    const float* full_hidden = full(piece);
    const float* shared_hidden = shares ? shared(piece) : nullptr;
    for (std::size_t first = 0; first < count; first += block) {
      const std::size_t rows = std::min(block, count - first);
      project_logits(s.llama, full_hidden + first * width, static_cast<index_t>(rows), full_logits.data(), scratch);
      if (shares)
        project_logits(s.llama, shared_hidden + first * width, static_cast<index_t>(rows), shared_logits.data(),
                       scratch);
      for (std::size_t r = 0; r < rows; ++r) {
        const auto target = static_cast<index_t>(ids[begin + first + r]);
        const row p(full_logits.data() + r * vocab, config.vocab);
        const double log_p = log_normaliser(p), full_loss = log_p - static_cast<double>(p[target]);
        full_nll += full_loss;
        if (shares) {
          const row q(shared_logits.data() + r * vocab, config.vocab);
          const double log_q = log_normaliser(q);
          nll += log_q - static_cast<double>(q[target]);
          kl += divergence(p, log_p, q, log_q);
          agreed += argmax(p) == argmax(q);
        } else {
          nll += full_loss;
          ++agreed;
        }
      }
    }
    tokens += count;
    if (on_progress) on_progress(tokens, ids.size());
  }
  const double n = static_cast<double>(std::max<std::size_t>(tokens, 1));
  return {std::exp(nll / n), std::exp(full_nll / n), kl / n, static_cast<double>(agreed) / n, tokens};
}

}  // namespace mini_llama
