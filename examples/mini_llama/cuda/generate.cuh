// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <span>
#include <vector>

#include "cuda/engine.cuh"
#include "run/generation.hpp"
#include "run/prefill_passes.hpp"
#include "run/sampler.hpp"
#include "run/session.hpp"

namespace mini_llama::cuda {

/// Generation on the device: prompts in ragged passes, then captured steps. The host reads each step's tokens, to show
/// them and to see which sequences end.
template <kvsharer::CacheElement E>
class generator {
  using index_t = kvsharer::index_t;

 public:
  generator(kvsharer::cuda::stream_ref stream, const session& s, const kvsharer::cache_plan& plan,
            const generation_request& request)
      : request_(request),
        config_(s.llama.config()),
        weights_(device_weights<E>::upload(stream, s.model_for(plan), plan.sharing())),
        engine_(stream, weights_, plan, limits(request, config_), s.identity.fingerprint + " " + s.identity.rope),
        pick_(request.temperature, request.top_p, request.seed) {}

  generation run() {
    generation out;
    out.token_ids.resize(request_.prompts.size());
    out.footprint = engine_.cache().footprint();
    out.kv_bytes_unshared = (out.footprint.keys + out.footprint.values) /
                            static_cast<std::size_t>(engine_.cache().sharing().planes()) * 2 *
                            static_cast<std::size_t>(config_.layers);
    auto start = clock::now();
    std::vector<int> tokens = prefill();
    out.prefill_seconds = since(start);
    start = clock::now();
    for (index_t step = 0;; ++step) {
      const bool last = step + 1 == request_.max_new_tokens || (request_.cancelled && request_.cancelled());
      keep(tokens, last, step, out);
      if (running_.empty()) break;
      tokens = decode(tokens);
    }
    out.decode_seconds = since(start);
    return out;
  }

 private:
  using clock = std::chrono::steady_clock;
  static double since(clock::time_point start) { return std::chrono::duration<double>(clock::now() - start).count(); }

  static constexpr index_t most_rows = 8192;  // of a pass; products reach their full rate well below this

  struct active {
    std::size_t prompt;
    kvsharer::sequence_id id;
  };

  static engine_limits limits(const generation_request& request, const model_config& config) {
    index_t rows = 0;
    for (const auto& prompt : request.prompts) rows += static_cast<index_t>(prompt.size());
    return {static_cast<index_t>(request.prompts.size()), needed_capacity(request, config.max_position),
            std::min(rows, most_rows)};
  }

  /// Each prompt's first new token.
  std::vector<int> prefill() {
    std::vector<index_t> lengths;
    for (const auto& prompt : request_.prompts) {
      running_.push_back({running_.size(), engine_.cache().create()});
      lengths.push_back(static_cast<index_t>(prompt.size()));
    }
    std::vector<int> first;
    const auto passes = prefill_passes(lengths, most_rows);
    for (const std::vector<prompt_piece>& pass : passes) {
      std::vector<kvsharer::sequence_growth> growth;
      std::vector<int> ids;
      for (const prompt_piece& piece : pass) {
        growth.push_back({running_[piece.prompt].id, piece.tokens});
        const auto from = request_.prompts[piece.prompt].begin() + piece.first;
        ids.insert(ids.end(), from, from + piece.tokens);
      }
      engine_.run(growth, ids);
      // Prompts end in order, so their tokens come in order; only a pass's last piece may continue in the next pass.
      const auto ended = std::count_if(pass.begin(), pass.end(), [](const prompt_piece& piece) { return piece.ends; });
      const std::vector<int> tokens = picked(static_cast<std::size_t>(ended));
      first.insert(first.end(), tokens.begin(), tokens.end());
    }
    in_place_ = in_place_ && passes.size() == 1;
    return first;
  }

  /// One more token for each running sequence, given their last ones.
  std::vector<int> decode(const std::vector<int>& ids) {
    std::vector<kvsharer::sequence_growth> growth;
    for (const active& a : running_) growth.push_back({a.id, 1});
    if (!in_place_) engine_.give(ids);
    engine_.step(growth);
    return picked(running_.size());
  }

  /// The tokens that the sampler picks from the first `rows` rows of logits, in their order. Waits for the device once.
  std::vector<int> picked(std::size_t rows) {
    std::vector<int> tokens(rows);
    in_place_ = false;
    if (rows == 0) return tokens;
    if (request_.temperature == 0) {
      engine_.fetch(engine_.chosen(), tokens.data(), rows);
      in_place_ = std::find(tokens.begin(), tokens.end(), -1) == tokens.end();
      if (in_place_) return tokens;
    }
    const auto vocab = static_cast<std::size_t>(config_.vocab);
    logits_.resize(rows * vocab);
    engine_.fetch(engine_.logits(), logits_.data(), logits_.size());
    for (std::size_t row = 0; row < rows; ++row) tokens[row] = pick_(std::span(logits_).subspan(row * vocab, vocab));
    return tokens;
  }

  /// Records the tokens; keeps in running_ and in `tokens` only the sequences that go on.
  void keep(std::vector<int>& tokens, bool last, index_t step, generation& out) {
    std::vector<active> still;
    std::vector<int> theirs;
    for (std::size_t r = 0; r < running_.size(); ++r) {
      const int token = tokens[r];
      out.token_ids[running_[r].prompt].push_back(token);
      out.decoded += step > 0;
      if (request_.on_token) request_.on_token(running_[r].prompt, token);
      const bool ended =
          request_.stop_at_eos && std::find(config_.eos.begin(), config_.eos.end(), token) != config_.eos.end();
      if (last || ended) {
        engine_.cache().drop(running_[r].id);
      } else {
        still.push_back(running_[r]);
        theirs.push_back(token);
      }
    }
    in_place_ = in_place_ && still.size() == running_.size();
    running_.swap(still);
    tokens.swap(theirs);
  }

  const generation_request& request_;
  const model_config& config_;
  device_weights<E> weights_;
  engine<E> engine_;
  sampler pick_;
  std::vector<active> running_;
  std::vector<float> logits_;  // [rows][vocab], if the host picks
  bool in_place_ = false;      // are the running sequences' last tokens where the engine's next step reads them?
};

/// Declared here and compiled once for each type (engine_*.cu), since every type compiles all attention kernels.
template <kvsharer::CacheElement E>
generation generate_on(kvsharer::cuda::stream_ref stream, const session& s, const kvsharer::cache_plan& plan,
                       const generation_request& request);

}  // namespace mini_llama::cuda
