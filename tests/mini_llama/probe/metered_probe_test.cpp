// SPDX-License-Identifier: Apache-2.0
#include "probe/metered_probe.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <memory>
#include <set>
#include <vector>

#include "mini_llama/tiny_llama.hpp"
#include "probe/search_probe.hpp"
#include "search/random_samples.hpp"

namespace {

using namespace mini_llama;
using kvsharer::share_map;

/// One multiplication and one addition at a time, as a textbook's loops would do them.
double counted(const model_config& c, const sample_sizes& of, const std::vector<int>& owners, int first) {
  double operations = 0;
  const auto product = [&](int out, int in) { operations += 2.0 * out * in; };
  for (int s = 0; s < of.samples; ++s)
    for (int t = 0; t < of.tokens; ++t) {
      for (int l = first; l < c.layers; ++l) {
        product(c.heads * c.head_dim, c.hidden);
        if (owners[static_cast<std::size_t>(l)] == l) {
          product(c.kv_heads * c.head_dim, c.hidden);
          product(c.kv_heads * c.head_dim, c.hidden);
        }
        for (int h = 0; h < c.heads; ++h) {
          product(t + 1, c.head_dim);
          product(c.head_dim, t + 1);
        }
        product(c.hidden, c.heads * c.head_dim);
        product(c.intermediate, c.hidden);
        product(c.intermediate, c.hidden);
        product(c.hidden, c.intermediate);
      }
      if (of.predicts) product(c.vocab, c.hidden);
    }
  return operations;
}

TEST_CASE("operations are those of the loops, of the layers that run and the keys and values that owners project") {
  const model_config c = tiny_llama::config(6);
  const std::vector<int> owners{0, 1, 0, 3, 3, 1};
  const share_map map = share_map::from_owners(owners).value();
  for (const bool predicts : {false, true})
    for (const int first : {0, 2, 5}) {
      const sample_sizes of{3, 7, predicts};
      CHECK(count_operations(c, of, map, {first}) == doctest::Approx(counted(c, of, owners, first)).epsilon(1e-12));
    }
}

TEST_CASE("a metered probe says what the probe says, and notes each candidate") {
  const model llama = tiny_llama::make(tiny_llama::config(6), std::make_shared<tiny_llama::tensors>());
  const token_batch samples = random_samples(llama.config(), 2, 5, 3);
  search_probe plain(llama, samples, kvsharer::similarity::mean_of_cosines);
  search_probe inner(llama, samples, kvsharer::similarity::mean_of_cosines);
  metered_probe metered(inner, llama.config(), {2, 5});
  const auto a = share_map::identity(6).with({{4}, {1}}).value(), b = a.with({{5}, {2}}).value();
  CHECK(metered.resume(a, {4}) == plain.resume(a, {4}));
  metered.accept();
  plain.accept();
  CHECK(metered.resume(b, {5}) == plain.resume(b, {5}));
  CHECK(metered(b) == plain(b));
  CHECK(metered.layer_evaluations() == 6 + 2 + 1 + 6);
  CHECK(metered.distances("flat", "post-rope")({{3}, {1}}) == plain.distances("flat", "post-rope")({{3}, {1}}));

  REQUIRE(metered.costs().size() == 3);
  double seconds = 0, operations = 0;
  const int firsts[] = {4, 5, 0};
  for (std::size_t i = 0; i < 3; ++i) {
    const candidate_cost& cost = metered.costs()[i];
    CHECK(cost.first.value == firsts[i]);
    CHECK(cost.seconds > 0);
    CHECK(cost.operations == count_operations(llama.config(), {2, 5}, i == 0 ? a : b, {firsts[i]}));
    seconds += cost.seconds;
    operations += cost.operations;
  }
  CHECK(total_cost(metered.costs()).seconds == seconds);
  CHECK(total_cost(metered.costs()).operations == operations);
}

TEST_CASE("random samples are the vocabulary's, begin as a text does, and follow the seed") {
  const model_config c = tiny_llama::config();
  const token_batch one = random_samples(c, 20, 30, 4);
  CHECK(one.size() == 20);
  std::set<int> seen;
  for (const std::vector<int>& ids : one) {
    CHECK(ids.size() == 30);
    CHECK(ids[0] == c.bos);
    seen.insert(ids.begin(), ids.end());
  }
  CHECK(*seen.begin() == 0);
  CHECK(*seen.rbegin() == c.vocab - 1);
  CHECK(random_samples(c, 20, 30, 4) == one);
  CHECK(random_samples(c, 20, 30, 5) != one);
}

}  // namespace
