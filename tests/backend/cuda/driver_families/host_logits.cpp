// SPDX-License-Identifier: Apache-2.0
#include "host_logits.hpp"

#include <span>

#include "network/forward.hpp"

namespace mini_llama {

std::vector<float> host_logits(const session& s, const kvsharer::share_plan& plan, const std::vector<int>& ids) {
  const auto tokens = static_cast<kvsharer::index_t>(ids.size());
  kvsharer::shared_cache<> cache(plan, {s.identity.layers, s.identity.kv_heads, s.identity.head_dim, tokens});
  const sequence_slice slice{cache.create(), 0, tokens};
  cache.append(slice.id, tokens);
  workspace scratch;
  const std::span<const float> logits = forward(s.llama, cache, {&slice, 1}, ids, {}, scratch);
  return {logits.begin(), logits.end()};
}

}  // namespace mini_llama
