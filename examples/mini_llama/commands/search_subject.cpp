// SPDX-License-Identifier: Apache-2.0
#include "commands/search_subject.hpp"

#include <cstdio>

#include "checkpoint/shapes.hpp"
#include "search/random_samples.hpp"
#include "support/files.hpp"
#include "support/usage_error.hpp"

namespace mini_llama {

search_subject::search_subject(const subject_arguments& a) : arguments_(a) {
  if (a.model.has_value() == a.shape.has_value()) throw usage_error("search needs either --model DIR or --shape NAME");
  if (a.shape ? a.calibration || a.token_ids : a.calibration.has_value() == a.token_ids.has_value())
    throw usage_error(a.shape ? "--shape makes its own samples; leave --calibration and --token-ids out"
                              : "search needs its samples from either --calibration FILE or --token-ids FILE");
  if (a.model) {
    session_.emplace(*a.model);
    identity_ = session_->identity;
    return;
  }
  config_ = shape_named(*a.shape);
  if (a.sample_tokens > config_.max_position)
    throw usage_error("--sample-tokens " + std::to_string(a.sample_tokens) + " passes the shape's context of " +
                      std::to_string(config_.max_position));
  identity_ = {config_.layers, config_.kv_heads, config_.head_dim, rope_identity(config_.rope),
               "random-" + std::to_string(a.seed)};
}

token_batch search_subject::samples() {
  const subject_arguments& a = arguments_;
  if (!session_) return random_samples(config_, a.samples, a.sample_tokens, a.seed);
  if (!a.token_ids) return read_calibration(*a.calibration, session_->words(), a.samples, a.sample_tokens);
  const token_batch all = read_token_ids(*a.token_ids, config().vocab);
  token_batch used = trim_calibration(all, a.samples, a.sample_tokens, a.skip_mismatched);
  if (a.skip_mismatched)
    std::fprintf(stderr, "mini_llama: calibrating on %zu of %zu samples\n", used.size(), all.size());
  return used;
}

}  // namespace mini_llama
