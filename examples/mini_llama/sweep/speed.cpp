// SPDX-License-Identifier: Apache-2.0
#include "sweep/speed.hpp"

#include <algorithm>

namespace mini_llama {

timed_continuation time_continuation(const workplace& where, const kvsharer::cache_plan& plan,
                                     const std::vector<int>& prompt, kvsharer::index_t new_tokens,
                                     const std::function<bool()>& cancelled) {
  const generation_request request{
      .prompts = {prompt}, .max_new_tokens = new_tokens, .stop_at_eos = false, .cancelled = cancelled};
  timed_continuation best;
  double spent = 0;
  for (int run = 0; run < 5 && spent < 1 && !(run > 0 && cancelled && cancelled()); ++run) {
    generation g = where.generate(plan, request);
    spent += g.prefill_seconds + g.decode_seconds;
    best.prefill_tokens_per_second =
        std::max(best.prefill_tokens_per_second, static_cast<double>(prompt.size()) / g.prefill_seconds);
    best.decode_tokens_per_second = std::max(best.decode_tokens_per_second, g.decode_tokens_per_second());
    best.footprint = g.footprint;
    best.token_ids = std::move(g.token_ids.at(0));
  }
  return best;
}

}  // namespace mini_llama
