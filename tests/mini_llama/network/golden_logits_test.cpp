// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "golden/golden.hpp"
#include "kvsharer/cpu.hpp"
#include "network/forward.hpp"
#include "run/generation.hpp"
#include "run/session.hpp"

namespace {

using namespace mini_llama;

/// |a - b| / |b|, in the Euclidean norm.
double relative_error(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

std::vector<float> last_logits(const model& m, const kvsharer::share_map& map, const std::vector<int>& ids) {
  const model_config& c = m.config();
  const auto tokens = static_cast<kvsharer::index_t>(ids.size());
  kvsharer::shared_cache<> cache(map, {c.layers, c.kv_heads, c.head_dim, tokens});
  const sequence_slice slice{cache.create(), 0, tokens};
  cache.append(slice.id, tokens);
  workspace w;
  const auto logits = forward(m, cache, {&slice, 1}, ids, {}, w);
  return {logits.begin(), logits.end()};
}

TEST_CASE("the full model's logits are the golden ones") {
  const session s(golden::model_directory());
  const auto g = golden::read_mini_llama();
  const std::vector<float> expected = golden::read_logits();
  REQUIRE(expected.size() == g.prompts.size() * golden::vocab);
  for (std::size_t p = 0; p < g.prompts.size(); ++p) {
    const auto logits = last_logits(s.llama, kvsharer::share_map::identity(24), g.prompts[p].token_ids);
    CHECK(relative_error(logits, {expected.data() + p * golden::vocab, golden::vocab}) < 1e-3);
  }
}

TEST_CASE("the logits under each golden layer map are the golden ones") {
  const session s(golden::model_directory());
  const auto g = golden::read_mini_llama();
  const std::vector<float> expected = golden::read_shared_logits();
  REQUIRE(expected.size() == g.prompts.size() * g.strategies.size() * golden::vocab);
  const float* at = expected.data();
  for (const auto& prompt : g.prompts)
    for (const auto& strategy : g.strategies) {
      const auto logits =
          last_logits(s.llama, kvsharer::share_map::from_owners(strategy.layer_map).value(), prompt.token_ids);
      CHECK(relative_error(logits, {at, golden::vocab}) < 1e-3);
      at += golden::vocab;
    }
}

TEST_CASE("greedy continuations are the golden ones, alone and as one ragged batch") {
  session s(golden::model_directory());
  const auto g = golden::read_mini_llama();
  generation_request all{.prompts = {}, .max_new_tokens = 32, .stop_at_eos = false};
  for (const auto& prompt : g.prompts) {
    REQUIRE(prompt.greedy_ids.size() == 32);
    all.prompts.push_back(prompt.token_ids);
    generation_request one = all;
    one.prompts = {prompt.token_ids};
    CHECK(generate(s, kvsharer::share_map::identity(24), one).token_ids.at(0) == prompt.greedy_ids);
    CHECK(s.words().encode(prompt.text) == prompt.token_ids);
  }
  const generation together = generate(s, kvsharer::share_map::identity(24), all);
  for (std::size_t p = 0; p < g.prompts.size(); ++p) CHECK(together.token_ids.at(p) == g.prompts[p].greedy_ids);
}

}  // namespace
