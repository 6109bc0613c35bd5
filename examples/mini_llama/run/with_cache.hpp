// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "kvsharer/kvsharer.hpp"
#include "run/session.hpp"
#include "support/usage_error.hpp"

namespace mini_llama {

/// Which cache a run is to use; names are those of choices.hpp.
struct cache_choice {
  std::string type = "f32";
  std::string layout = "contiguous";
  kvsharer::index_t page_tokens = 16;
};

/// Makes a cache for `sequences` sequences of up to `capacity` tokens under `plan`, and calls f(cache).
template <class F>
decltype(auto) with_cache(const cache_choice& choice, const session& s, const kvsharer::cache_plan& plan,
                          kvsharer::index_t sequences, kvsharer::index_t capacity, F&& f) {
  const kvsharer::cache_shape shape{s.identity.layers, s.identity.kv_heads, s.identity.head_dim, capacity};
  const kvsharer::shared_cache_options options{.max_sequences = sequences,
                                               .tag = s.identity.fingerprint + " " + s.identity.rope};
  const auto with_layout = [&]<class E>(E, auto layout) -> decltype(auto) {
    kvsharer::shared_cache<E, decltype(layout)> cache(plan, shape, options, layout);
    return f(cache);
  };
  const auto with_element = [&](auto element) -> decltype(auto) {
    if (choice.layout == "contiguous") return with_layout(element, kvsharer::layout::head_major{});
    if (choice.layout == "paged") return with_layout(element, kvsharer::layout::paged<>{choice.page_tokens});
    throw usage_error("there is no cache layout \"" + choice.layout + "\"; choose contiguous or paged");
  };
  if (choice.type == "f32") return with_element(float{});
  if (choice.type == "f16") return with_element(kvsharer::float16{});
  if (choice.type == "bf16") return with_element(kvsharer::bfloat16{});
  throw usage_error("there is no cache type \"" + choice.type + "\"; choose f32, f16 or bf16");
}

}  // namespace mini_llama
