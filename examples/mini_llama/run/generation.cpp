// SPDX-License-Identifier: Apache-2.0
#include "run/generation.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "network/forward.hpp"
#include "run/sampler.hpp"
#include "support/usage_error.hpp"

namespace mini_llama {

using kvsharer::index_t;

namespace {

using clock = std::chrono::steady_clock;

double since(clock::time_point start) { return std::chrono::duration<double>(clock::now() - start).count(); }

template <class Cache>
void run(const model& llama, Cache& cache, const generation_request& request, generation& out) {
  const auto vocab = static_cast<std::size_t>(llama.config().vocab);
  const std::vector<int>& eos = llama.config().eos;
  sampler pick(request.temperature, request.top_p, request.seed);
  workspace scratch;

  struct active {
    std::size_t prompt;
    kvsharer::sequence_id id;
  };
  std::vector<active> running;
  std::vector<sequence_slice> slices;
  std::vector<int> ids;
  for (std::size_t i = 0; i < request.prompts.size(); ++i) {
    running.push_back({i, cache.create()});
    const auto tokens = static_cast<index_t>(request.prompts[i].size());
    slices.push_back({running.back().id, cache.append(running.back().id, tokens), tokens});
    ids.insert(ids.end(), request.prompts[i].begin(), request.prompts[i].end());
  }

  clock::time_point start = clock::now();
  std::span<const float> logits =
      forward(llama, cache, slices, ids, {.project_readers = request.project_readers}, scratch);
  out.prefill_seconds = since(start);
  start = clock::now();
  for (index_t step = 0;; ++step) {
    slices.clear();
    ids.clear();
    std::vector<active> still;
    const bool last = step + 1 == request.max_new_tokens || (request.cancelled && request.cancelled());
    for (std::size_t r = 0; r < running.size(); ++r) {
      const int token = pick(logits.subspan(r * vocab, vocab));
      out.token_ids[running[r].prompt].push_back(token);
      out.decoded += step > 0;
      if (request.on_token) request.on_token(running[r].prompt, token);
      const bool ended = request.stop_at_eos && std::find(eos.begin(), eos.end(), token) != eos.end();
      if (last || ended) {
        cache.drop(running[r].id);
      } else {
        slices.push_back({running[r].id, cache.append(running[r].id, 1), 1});
        ids.push_back(token);
        still.push_back(running[r]);
      }
    }
    running.swap(still);
    if (running.empty()) break;
    logits = forward(llama, cache, slices, ids, {.project_readers = request.project_readers}, scratch);
  }
  out.decode_seconds = since(start);
}

}  // namespace

index_t needed_capacity(const generation_request& request, index_t context) {
  if (request.prompts.empty()) throw usage_error("there is no prompt to continue");
  if (request.max_new_tokens < 1) throw usage_error("--max-new-tokens must be at least 1");
  std::size_t longest = 0;
  for (std::size_t i = 0; i < request.prompts.size(); ++i) {
    if (request.prompts[i].empty()) throw usage_error("prompt " + std::to_string(i) + " is empty");
    longest = std::max(longest, request.prompts[i].size());
  }
  if (request.max_new_tokens > context - static_cast<index_t>(longest))  // a sum may pass 2^63
    throw usage_error("a prompt of " + std::to_string(longest) + " tokens and " +
                      std::to_string(request.max_new_tokens) + " new ones do not fit the model's context of " +
                      std::to_string(context) + "; shorten the prompt or lower --max-new-tokens");
  return static_cast<index_t>(longest) + request.max_new_tokens;
}

generation generate(const session& s, const kvsharer::cache_plan& plan, const generation_request& request) {
  const index_t capacity = needed_capacity(request, s.llama.config().max_position);
  generation out;
  out.token_ids.resize(request.prompts.size());
  with_cache(request.cache, s, plan, static_cast<index_t>(request.prompts.size()), capacity, [&](auto& cache) {
    out.footprint = cache.footprint();
    out.kv_bytes_unshared = (out.footprint.keys + out.footprint.values) /
                            static_cast<std::size_t>(plan.sharing().planes()) * 2 *
                            static_cast<std::size_t>(plan.layers());
    run(s.model_for(plan), cache, request, out);
  });
  return out;
}

}  // namespace mini_llama
