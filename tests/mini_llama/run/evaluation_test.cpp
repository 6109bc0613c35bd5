// SPDX-License-Identifier: Apache-2.0
#include "run/evaluation.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "golden/golden.hpp"
#include "network/forward.hpp"
#include "support/usage_error.hpp"

namespace {

using namespace mini_llama;
using kvsharer::share_map;

const session& shipped() {
  static const session s(golden::model_directory());
  return s;
}

share_map golden_map() { return share_map::from_owners(golden::read_mini_llama().strategies.at(1).layer_map).value(); }

/// Logarithms of the next-token probabilities after each token, in float64.
std::vector<std::vector<double>> log_probabilities(const share_map& map, const std::vector<int>& ids) {
  const auto tokens = static_cast<kvsharer::index_t>(ids.size());
  kvsharer::shared_cache<> cache(map, {24, 4, 64, tokens});
  const sequence_slice slice{cache.create(), 0, tokens};
  cache.append(slice.id, tokens);
  workspace w;
  const auto logits = forward(shipped().llama, cache, {&slice, 1}, ids, {.want = outputs::all_logits}, w);
  std::vector<std::vector<double>> rows;
  for (std::size_t t = 0; t < ids.size(); ++t) {
    std::vector<double> row(logits.begin() + static_cast<std::ptrdiff_t>(t * golden::vocab),
                            logits.begin() + static_cast<std::ptrdiff_t>((t + 1) * golden::vocab));
    double sum = 0;
    for (double x : row) sum += std::exp(x);
    for (double& x : row) x -= std::log(sum);
    rows.push_back(row);
  }
  return rows;
}

TEST_CASE("perplexity, divergence and agreement follow their definitions, window by window") {
  // 25 tokens in windows of 11, that is pieces of 10, 10 and 5, each behind a BOS.
  std::vector<int> ids = golden::read_mini_llama().calibration_ids.at(0);
  ids = {ids.begin() + 1, ids.begin() + 26};
  double nll = 0, full_nll = 0, kl = 0;
  int same = 0;
  for (std::size_t begin = 0; begin < 25; begin += 10) {
    const std::size_t end = std::min<std::size_t>(begin + 10, 25);
    std::vector<int> input{1};
    input.insert(input.end(), ids.begin() + static_cast<std::ptrdiff_t>(begin),
                 ids.begin() + static_cast<std::ptrdiff_t>(end - 1));
    const auto full = log_probabilities(share_map::identity(24), input),
               shared = log_probabilities(golden_map(), input);
    for (std::size_t t = 0; t < input.size(); ++t) {
      const auto target = static_cast<std::size_t>(ids[begin + t]);
      nll -= shared[t][target];
      full_nll -= full[t][target];
      for (std::size_t v = 0; v < golden::vocab; ++v) kl += std::exp(full[t][v]) * (full[t][v] - shared[t][v]);
      same += std::max_element(full[t].begin(), full[t].end()) - full[t].begin() ==
              std::max_element(shared[t].begin(), shared[t].end()) - shared[t].begin();
    }
  }
  const evaluation e = evaluate(shipped(), golden_map(), ids, 11);
  CHECK(e.tokens == 25);
  CHECK(e.perplexity == doctest::Approx(std::exp(nll / 25)).epsilon(1e-4));
  CHECK(e.full_perplexity == doctest::Approx(std::exp(full_nll / 25)).epsilon(1e-4));
  CHECK(e.kl == doctest::Approx(kl / 25).epsilon(1e-3));
  CHECK(e.top1_agreement == doctest::Approx(same / 25.0));
  CHECK(e.kl > 0.01);

  const evaluation identity = evaluate(shipped(), share_map::identity(24), ids, 11);
  CHECK(identity.perplexity == identity.full_perplexity);
  CHECK(identity.full_perplexity == doctest::Approx(e.full_perplexity).epsilon(1e-9));
  CHECK(identity.kl == 0);
  CHECK(identity.top1_agreement == 1);
}

TEST_CASE("a reference that is held compares to the same bits") {
  std::vector<int> ids = golden::read_mini_llama().calibration_ids.at(0);
  ids.resize(40);
  full_reference held(shipped(), ids, 16);
  for (const share_map& map : {golden_map(), share_map::identity(24), golden_map()}) {
    const evaluation once = evaluate(shipped(), map, ids, 16), again = held.compare(map);
    CHECK(again.perplexity == once.perplexity);
    CHECK(again.full_perplexity == once.full_perplexity);
    CHECK(again.kl == once.kl);
    CHECK(again.top1_agreement == once.top1_agreement);
    CHECK(again.tokens == once.tokens);
  }
  CHECK(held.full().perplexity == held.compare(golden_map()).full_perplexity);

  int windows = 0;
  const full_reference stopped(shipped(), ids, 16, {}, [&] { return ++windows > 2; });
  CHECK(stopped.full().tokens == 30);
  CHECK(held.compare(golden_map(), {}, [] { return true; }).tokens == 0);
}

TEST_CASE("progress is told, and a cancelled evaluation keeps what it has") {
  const std::vector<int> ids(30, 77);
  std::vector<std::size_t> done;
  const evaluation e = evaluate(
      shipped(), share_map::identity(24), ids, 11, [&](std::size_t tokens, std::size_t) { done.push_back(tokens); },
      [&] { return done.size() == 2; });
  CHECK(done == std::vector<std::size_t>{10, 20});
  CHECK(e.tokens == 20);
}

TEST_CASE("no text, and windows that do not fit, are refused") {
  CHECK_THROWS_AS(evaluate(shipped(), share_map::identity(24), {}, 16), usage_error);
  const std::vector<int> ids(4, 77);
  CHECK_THROWS_AS(evaluate(shipped(), share_map::identity(24), ids, 1), usage_error);
  CHECK_THROWS_AS(evaluate(shipped(), share_map::identity(24), ids, 1025), usage_error);
}

}  // namespace
