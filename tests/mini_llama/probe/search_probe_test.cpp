// SPDX-License-Identifier: Apache-2.0
#include "probe/search_probe.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <memory>
#include <random>
#include <vector>

#include "kvsharer/cpu.hpp"
#include "mini_llama/tiny_llama.hpp"

namespace {

using kvsharer::layer_id;
using kvsharer::share_map;
using namespace mini_llama;

const auto weights = std::make_shared<tiny_llama::tensors>();
const model llama = tiny_llama::make(tiny_llama::config(8), weights);

token_batch samples(std::size_t count, std::size_t tokens) {
  std::mt19937 bits(5);
  token_batch batch(count, std::vector<int>(tokens));
  for (auto& ids : batch)
    for (int& id : ids) id = static_cast<int>(bits() % 61);
  return batch;
}

TEST_CASE("the identity scores 1, and scores follow the final hidden states") {
  search_probe probe(llama, samples(3, 12), kvsharer::similarity::mean_of_cosines);
  CHECK(probe(share_map::identity(8)) == doctest::Approx(1).epsilon(1e-6));
  const double score = probe(share_map::from_owners(std::vector{0, 1, 2, 3, 1, 5, 6, 0}).value());
  CHECK(score < 0.999);
  CHECK(score >= -1);
}

TEST_CASE("after any history of candidates, resuming scores the bits of a whole run") {
  std::mt19937 bits(9);
  search_probe resuming(llama, samples(4, 9), kvsharer::similarity::mean_of_cosines);
  search_probe whole(llama, samples(4, 9), kvsharer::similarity::mean_of_cosines);
  const kvsharer::index_t reference = resuming.layer_evaluations();
  CHECK(reference == 8);
  kvsharer::index_t run = 0;
  share_map accepted = share_map::identity(8);
  int changes = 0;
  for (int i = 0; i < 60; ++i) {
    const int reader = 1 + static_cast<int>(bits() % 7), owner = static_cast<int>(bits()) % reader;
    if (!accepted.owns({reader})) continue;
    const share_map proposed = accepted.with({{reader}, {std::abs(owner)}}).value();
    const layer_id first = kvsharer::first_difference(accepted, proposed);
    const double score = resuming.resume(proposed, first);
    run += 8 - first.value;
    CHECK(score == whole(proposed));
    if (bits() % 4 == 0) {
      resuming.accept();
      accepted = proposed;
      ++changes;
    }
  }
  CHECK(changes >= 3);
  CHECK(resuming.layer_evaluations() == reference + run);
}

TEST_CASE("the probe's average is the mean of the full model's caches") {
  const token_batch batch = samples(3, 7);
  const search_probe probe(llama, batch, kvsharer::similarity::mean_of_cosines);
  const auto& average = probe.average();
  CHECK(average.samples() == 3);
  CHECK(average.shape() == kvsharer::cache_shape{8, 2, 10, 7});
  std::vector<double> expected(7 * 20, 0.0);
  constexpr layer_id layer{5};
  for (const auto& ids : batch) {
    kvsharer::shared_cache<> cache(share_map::identity(8), {8, 2, 10, 7});
    const sequence_slice slice{cache.create(), 0, 7};
    cache.append(slice.id, 7);
    workspace w;
    forward(llama, cache, {&slice, 1}, ids, {.want = outputs::hidden}, w);
    for (int t = 0; t < 7; ++t)
      for (int i = 0; i < 20; ++i)
        expected[static_cast<std::size_t>(t * 20 + i)] +=
            static_cast<double>(cache.keys(layer, slice.id).at(i / 10, t, i % 10)) / 3;
  }
  for (int t = 0; t < 7; ++t)
    for (int i = 0; i < 20; ++i)
      CHECK(static_cast<double>(average.keys(layer).at(i / 10, t, i % 10)) ==
            doctest::Approx(expected[static_cast<std::size_t>(t * 20 + i)]).epsilon(1e-5));
}

}  // namespace
