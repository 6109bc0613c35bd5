// SPDX-License-Identifier: Apache-2.0
// The shipped model on the device: last logits against golden ones, and figures of a text against the host's.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "device/gpu.hpp"
#include "golden/golden.hpp"
#include "run/evaluation.hpp"
#include "run/session.hpp"

namespace {

using namespace mini_llama;

/// |a - b| / |b|, in the Euclidean norm.
double relative_error(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

TEST_CASE("last logits are the golden ones, of the full model and under each golden layer map") {
  const session s(golden::model_directory());
  const auto g = golden::read_mini_llama();
  token_batch prompts;
  for (const auto& prompt : g.prompts) prompts.push_back(prompt.token_ids);
  const auto card = open_gpu();
  const std::vector<float> full = golden::read_logits(), shared = golden::read_shared_logits();
  const auto logits = card->logits(s, kvsharer::share_map::identity(24), prompts, {});
  for (std::size_t p = 0; p < prompts.size(); ++p)
    CHECK(relative_error(logits.at(p), std::span(full).subspan(p * golden::vocab, golden::vocab)) < 1e-3);
  for (std::size_t m = 0; m < g.strategies.size(); ++m) {
    const auto map = kvsharer::share_map::from_owners(g.strategies[m].layer_map).value();
    const auto under = card->logits(s, map, prompts, {});
    for (std::size_t p = 0; p < prompts.size(); ++p) {
      const std::size_t at = (p * g.strategies.size() + m) * golden::vocab;
      CHECK(relative_error(under.at(p), std::span(shared).subspan(at, golden::vocab)) < 1e-3);
    }
  }
}

TEST_CASE("figures of a text are the host's") {
  const session s(golden::model_directory());
  const auto g = golden::read_mini_llama();
  const auto map = kvsharer::share_map::from_owners(g.strategies.at(1).layer_map).value();
  const auto& ids = g.calibration_ids.at(0);
  const std::vector<int> text(ids.begin() + 1, ids.begin() + 26);
  const evaluation here = open_gpu()->evaluate(s, map, text, 11, {}), there = evaluate(s, map, text, 11);
  CHECK(here.tokens == there.tokens);
  CHECK(here.perplexity == doctest::Approx(there.perplexity).epsilon(1e-4));
  CHECK(here.full_perplexity == doctest::Approx(there.full_perplexity).epsilon(1e-4));
  CHECK(here.kl == doctest::Approx(there.kl).epsilon(1e-3));
  CHECK(std::abs(here.top1_agreement - there.top1_agreement) < 1.5 / 25);  // one near tie may fall otherwise
}

}  // namespace
