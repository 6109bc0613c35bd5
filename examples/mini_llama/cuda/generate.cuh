// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cuda/forward.cuh"
#include "cuda/replay.cuh"
#include "cuda/run_context.cuh"
#include "generation.hpp"
#include "kvsharer/backend/cuda/sequence_batch.cuh"
#include "kvsharer/backend/cuda/shared_cache.cuh"
#include "kvsharer/layout/paged.hpp"
#include "sampler.hpp"
#include "session.hpp"

namespace mini_llama::cuda {

/// Generation on the device: prompts as one ragged batch, then steps from a captured graph. The host picks up each
/// step's tokens, to show them and to see which sequences end; a graph is captured again when their number changes.
template <kvsharer::CacheElement E>
class generator {
  using index_t = kvsharer::index_t;
  using cache_type = kvsharer::cuda::shared_cache<E, kvsharer::layout::paged<16>>;

 public:
  generator(kvsharer::cuda::stream_ref stream, const session& s, const kvsharer::share_map& map,
            const generation_request& request)
      : stream_(stream),
        request_(request),
        config_(s.llama.config()),
        capacity_(needed_capacity(request, config_.max_position)),
        weights_(device_weights<E>::upload(stream, s.llama, map)),
        context_(stream, config_, capacity_),
        buffers_(stream, config_, prompt_tokens(request), sequences()),
        cache_(map, {config_.layers, config_.kv_heads, config_.head_dim, capacity_},
               {.max_sequences = sequences(), .tag = s.identity.fingerprint + " " + s.identity.rope}, stream),
        batch_(stream, sequences()),
        ids_(stream, static_cast<std::size_t>(prompt_tokens(request))),
        picked_(stream, static_cast<std::size_t>(sequences())),
        model_(context_.on(), weights_, context_.angles(), context_.products(), buffers_),
        pick_(request.temperature, request.top_p, request.seed) {}

  generation run() {
    generation out;
    out.token_ids.resize(request_.prompts.size());
    out.footprint = cache_.footprint();
    out.kv_bytes_unshared = (out.footprint.keys + out.footprint.values) /
                            static_cast<std::size_t>(cache_.map().owner_count()) *
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

  struct active {
    std::size_t prompt;
    kvsharer::sequence_id id;
  };

  static index_t prompt_tokens(const generation_request& request) {
    std::size_t sum = 0;
    for (const auto& prompt : request.prompts) sum += prompt.size();
    return static_cast<index_t>(sum);
  }
  index_t sequences() const { return static_cast<index_t>(request_.prompts.size()); }

  /// Each prompt's first new token.
  std::vector<int> prefill() {
    std::vector<kvsharer::sequence_growth> growth;
    std::vector<int> ids;
    for (std::size_t i = 0; i < request_.prompts.size(); ++i) {
      running_.push_back({i, cache_.create()});
      growth.push_back({running_.back().id, static_cast<index_t>(request_.prompts[i].size())});
      ids.insert(ids.end(), request_.prompts[i].begin(), request_.prompts[i].end());
    }
    place(growth, ids);
    model_.last_logits(cache_, batch_.batch(), ids_.data());
    return picked();
  }

  /// One more token for each running sequence, given their last ones.
  std::vector<int> decode(const std::vector<int>& ids) {
    std::vector<kvsharer::sequence_growth> growth;
    for (const active& a : running_) growth.push_back({a.id, 1});
    place(growth, ids);
    if (step_) {
      step_(stream_);
    } else {
      // The first step of so many sequences finds algorithms and loads kernels; the second is captured.
      model_.last_logits(cache_, batch_.batch(), ids_.data());
      step_ = replay(stream_, [&] { model_.last_logits(cache_, batch_.batch(), ids_.data()); });
    }
    return picked();
  }

  /// Grows the cache and brings the batch and its tokens to the device.
  void place(const std::vector<kvsharer::sequence_growth>& growth, const std::vector<int>& ids) {
    cache_.append(growth);
    batch_.assign(cache_, growth);
    context_.place(ids.data(), ids.size(), ids_.data());
  }

  /// The token that follows each running sequence. Waits for the device.
  std::vector<int> picked() {
    const auto rows = static_cast<index_t>(running_.size());
    std::vector<int> tokens(running_.size());
    if (request_.temperature == 0) {
      argmax(context_.on(), buffers_.logits.data(), rows, config_.vocab, picked_.data());
      context_.fetch(picked_.data(), tokens.data(), tokens.size());
      if (std::find(tokens.begin(), tokens.end(), -1) == tokens.end()) return tokens;
    }
    std::vector<float> logits(static_cast<std::size_t>(rows * config_.vocab));
    context_.fetch(buffers_.logits.data(), logits.data(), logits.size());
    const auto vocab = static_cast<std::size_t>(config_.vocab);
    for (std::size_t r = 0; r < tokens.size(); ++r) tokens[r] = pick_(std::span(logits).subspan(r * vocab, vocab));
    return tokens;
  }

  /// Takes the tokens down, and leaves those running, and in `tokens`, that go on.
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
        cache_.drop(running_[r].id);
      } else {
        still.push_back(running_[r]);
        theirs.push_back(token);
      }
    }
    if (still.size() != running_.size()) step_ = replay();
    running_.swap(still);
    tokens.swap(theirs);
  }

  kvsharer::cuda::stream_ref stream_;
  const generation_request& request_;
  const model_config& config_;
  index_t capacity_;
  device_weights<E> weights_;
  run_context context_;
  run_buffers<E> buffers_;
  cache_type cache_;
  kvsharer::cuda::sequence_batch<> batch_;
  kvsharer::cuda::device_buffer<std::int32_t> ids_;     // [rows of the batch]
  kvsharer::cuda::device_buffer<std::int32_t> picked_;  // [sequences]
  decoder<E> model_;
  sampler pick_;
  std::vector<active> running_;
  replay step_;
};

/// Declared here and compiled once for each type (generate_*.cu), since every type brings all attention kernels.
template <kvsharer::CacheElement E>
generation generate_on(kvsharer::cuda::stream_ref stream, const session& s, const kvsharer::share_map& map,
                       const generation_request& request);

}  // namespace mini_llama::cuda
