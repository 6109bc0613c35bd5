// SPDX-License-Identifier: Apache-2.0
// The shipped model on the device against golden numbers: greedy continuations as one ragged batch, with and without
// sharing, in pages, from captured steps.
#include <doctest/doctest.h>

#include <vector>

#include "device/gpu.hpp"
#include "golden/golden.hpp"
#include "run/session.hpp"

namespace {

using namespace mini_llama;

TEST_CASE("greedy continuations are the golden ones, as one ragged batch") {
  const session s(golden::model_directory());
  const auto g = golden::read_mini_llama();
  generation_request request{.prompts = {}, .max_new_tokens = 32, .stop_at_eos = false};
  for (const auto& prompt : g.prompts) request.prompts.push_back(prompt.token_ids);
  const auto card = open_gpu();
  const generation out = card->generate(s, kvsharer::share_map::identity(24), request);
  for (std::size_t p = 0; p < g.prompts.size(); ++p) CHECK(out.token_ids.at(p) == g.prompts[p].greedy_ids);
  CHECK(out.decoded == 31 * g.prompts.size());
  CHECK(out.footprint.keys + out.footprint.values == out.kv_bytes_unshared);
}

TEST_CASE("under a golden layer map the device says what the host says") {
  const session s(golden::model_directory());
  const auto g = golden::read_mini_llama();
  const auto card = open_gpu();
  for (const auto& strategy : g.strategies) {
    const auto map = kvsharer::share_map::from_owners(strategy.layer_map).value();
    generation_request request{.prompts = {}, .max_new_tokens = 6};
    for (const auto& prompt : g.prompts) request.prompts.push_back(prompt.token_ids);
    const generation here = card->generate(s, map, request), there = generate(s, map, request);
    CHECK(here.token_ids == there.token_ids);
    CHECK(here.footprint.keys * 24 == (here.kv_bytes_unshared / 2) * static_cast<std::size_t>(map.owner_count()));
  }
}

}  // namespace
